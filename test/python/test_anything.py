"""Whatever arrays come: the right answer, or an exception that says what is wrong.

Arrays of every number type, of any shape with 0 to 4 axes, with steps, reversed and broadcast, with
NaN, infinities and extreme values, and things that are no arrays.
"""

import warnings

import dotk
import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

settings.register_profile("dotk", deadline=None, max_examples=150, derandomize=True)
settings.load_profile("dotk")

TYPES = ["f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", ">f4", "c8", "O", "S3"]
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 3.4e38, 1e-42, 1e19, -1.0, 1.0]
REFUSED = (TypeError, ValueError)


@st.composite
def arrays(draw, axes=(0, 4), types=TYPES, dims=(0, 9)):
    """An array, most of the time one that could be taken."""
    shape = draw(st.lists(st.integers(*dims), min_size=axes[0], max_size=axes[1]))
    plain = draw(st.booleans())
    type = "f4" if plain else draw(st.sampled_from(types))
    steps = [1 if plain else draw(st.sampled_from([1, 1, 2, 3, -1])) for _ in shape]
    room = [abs(step) * length + 1 for step, length in zip(steps, shape)]
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = random.standard_normal(room) * draw(st.sampled_from([1.0, 1.0, 100.0]))
    if values.size and draw(st.integers(0, 3)) == 0:
        values.flat[draw(st.integers(0, values.size - 1))] = draw(st.sampled_from(SPECIAL))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = np.array(values.astype(type))
    array = array[tuple(slice(0, n * s, s) if s > 0 else slice(n, 0, s) for n, s in zip(shape, steps))]
    assert array.shape == tuple(shape)
    if draw(st.integers(0, 9)) == 0:
        array = np.broadcast_to(array, (3, *array.shape))
    return array


anything = st.one_of(
    arrays(),
    arrays(axes=(1, 2)),
    arrays(axes=(1, 2)).map(lambda a: a.tolist()),
    st.sampled_from([3, 2.5, "x", b"abc", [], [[]], [[1], [1, 2]], {}, object(), True, None, "f4"]),
)


def outcome(call, *arguments, **named):
    """What a call gives; None when it refuses, which it has to do with a message."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call(*arguments, **named)
        except (*REFUSED, KeyError, OverflowError) as error:
            assert len(str(error)) > 8, error
            return None


def as_f32(array):
    """The array as the library is to see it; None for what it must refuse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            array = np.asarray(array)
        except ValueError:
            return None
        if array.dtype.kind not in "fiu" or array.dtype.byteorder == ">" or array.ndim == 0:
            return None
        return array.astype(np.float32, order="C")


def same(got, exact, size):
    """Equal up to rounding of sums whose terms have 'size' as the sum of their magnitudes."""
    got, exact = np.asarray(got, float), np.asarray(exact, float)
    assert got.shape == exact.shape
    finite = np.isfinite(exact) & (np.abs(size) < 1e38)
    tolerance = 1e-5 * np.abs(size) + 1e-37
    tolerance = np.broadcast_to(tolerance, exact.shape)
    assert (np.abs(got[finite] - exact[finite]) <= tolerance[finite]).all()
    assert (np.isnan(got) == np.isnan(exact))[np.abs(size) < 1e38].all()


@given(anything, anything)
def test_dot(a, b):
    got = outcome(dotk.dot, a, b)
    if got is None:
        return
    x, y = as_f32(a).astype(float), as_f32(b).astype(float)
    assert x.ndim == 1 or y.ndim == 1 or x.shape == y.shape
    same(got, (x * y).sum(-1), np.abs(x * y).sum(-1))


@given(arrays(axes=(1, 4)), st.sampled_from([dotk.dot, dotk.l2, dotk.cosine, dotk.angle]))
def test_plain_rows_are_taken(a, function):
    """What is f32, dense and finite, and not zero, has an answer."""
    x = as_f32(a)
    if x is None or not np.isfinite(x.astype(float)).all() or (np.abs(x) > 1e18).any():
        return
    if x.size == 0 or (np.linalg.norm(x.astype(float), axis=-1) < 1e-15).any():
        return
    got = function(x, x)
    assert np.shape(got) == x.shape[:-1]
    if function in (dotk.l2, dotk.angle):
        assert np.all(np.asarray(got) <= 1e-3)


@given(anything)
def test_norm_and_normalize(a):
    x = as_f32(a)
    length = outcome(dotk.norm, a)
    if length is not None:
        same(length, np.linalg.norm(x.astype(float), axis=-1), np.linalg.norm(x.astype(float), axis=-1))
    unit = outcome(dotk.normalize, a)
    if unit is not None and x.size:
        np.testing.assert_allclose(np.linalg.norm(unit.astype(float), axis=-1), 1, rtol=1e-5)


@given(anything, st.sampled_from([1.0, 0.1, 30.0, 0.0, -1.0, float("nan"), float("inf"), "x"]))
def test_softmax(a, temperature):
    got = outcome(dotk.softmax, a, temperature=temperature)
    if got is None:
        return
    x = as_f32(a).astype(float)
    assert got.shape == x.shape
    if x.size:
        assert temperature in (1.0, 0.1, 30.0)
        x /= np.float32(temperature)
        rows = np.isfinite(x).all(-1)
        exact = np.exp(x - x.max(-1, keepdims=True))
        exact /= exact.sum(-1, keepdims=True)
        np.testing.assert_allclose(got[rows], exact[rows], rtol=1e-4, atol=1e-30)


@given(anything, st.sampled_from(["dot", "cosine", "l2"]), st.integers(-1, 5), anything, anything)
def test_search(rows, metric, k, queries, filter):
    x = as_f32(rows)
    dim = x.shape[-1] if x is not None and x.shape[-1] > 0 else 3
    index = dotk.Index(dim, metric)
    added = outcome(index.add, rows) is None and len(index)
    taken = None if not added else np.atleast_2d(x).astype(float)
    assert len(index) == (0 if taken is None else len(taken))
    for chosen in (None, filter):
        found = outcome(index.search, queries, k, filter=chosen)
        if found is None:
            continue
        asked = as_f32(queries)
        assert k > 0 and found[0].shape == found[1].shape == (*asked.shape[:-1], k)
        if taken is None or asked.size == 0:
            assert (found[0] == -1).all()
            continue
        asked = np.atleast_2d(asked).astype(float)
        ids, scores = np.atleast_2d(found[0]), np.atleast_2d(found[1])
        products = asked @ taken.T
        lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(taken, axis=1)
        if metric == "l2":
            exact = ((asked[:, None] - taken[None]) ** 2).sum(-1)
            size = (np.linalg.norm(asked, axis=1)[:, None] + np.linalg.norm(taken, axis=1)) ** 2
        else:
            exact, size = (products / lengths, 1) if metric == "cosine" else (products, lengths)
        size = np.broadcast_to(size, exact.shape)
        if chosen is None:
            assert ((ids >= 0).sum(1) == min(k, len(taken))).all()
        for i in range(len(asked)):
            real = ids[i][ids[i] >= 0]
            same(scores[i][: len(real)], exact[i][real], size[i][real])
            if chosen is None and len(real):
                better = -exact[i] if metric != "l2" else exact[i]
                worst = better[real].max()
                left = np.delete(np.arange(len(taken)), real)
                assert (better[left] >= worst - 1e-4 * size[i][left] - 1e-30).all()


@given(anything, anything)
def test_ids(ids, more):
    index = dotk.Index(2)
    count = np.size(ids) if isinstance(ids, (list, np.ndarray)) and np.ndim(as_f32(ids)) else 1
    outcome(index.add, np.ones((count, 2), np.float32), ids)
    before = len(index)
    for call in (lambda: index.remove(more), lambda: index.update([[1, 2]], more)):
        outcome(call)
        assert 0 <= len(index) <= before
    outcome(index.reconstruct, more)
    outcome(index.range, [1, 2], more if isinstance(more, (int, float)) else 0.5, filter=ids)
    assert len(index.search([1, 1], 1)[0]) == 1


@given(anything, anything)
def test_merge_and_inspect(ids, scores):
    merged = outcome(dotk.topk_merge, ids, scores)
    if merged is not None:
        assert merged[0].shape == merged[1].shape
    found = outcome(dotk.inspect, ids)
    if found is not None:
        assert found["rows"] == (1 if np.ndim(ids) == 1 else np.shape(ids)[0])


@given(anything, arrays(axes=(0, 3)))
def test_out(a, out):
    """What is written is written into out, whole; what is refused leaves an error."""
    out = np.array(out)
    got = outcome(dotk.normalize, a, out=out)
    if got is not None:
        assert got is out and out.dtype == np.float32 and out.shape == as_f32(a).shape
