"""dotk.Index against numpy in double precision; filters, changes, refusals, threads."""

import threading

import dotk
import numpy as np
import pytest

rng = np.random.default_rng(2)
DIM, ROWS = 37, 300
METRICS = ["dot", "cosine", "l2"]


def data(rows=ROWS, dim=DIM):
    return rng.standard_normal((rows, dim), dtype=np.float32)


def made(rows, **options):
    index = dotk.Index(rows.shape[1], **options)
    index.add(rows)
    return index


def scores_of(rows, queries, metric):
    rows, queries = rows.astype(float), queries.astype(float)
    if metric == "l2":
        return ((queries[:, None] - rows[None]) ** 2).sum(-1)
    products = queries @ rows.T
    if metric == "cosine":
        products /= np.linalg.norm(rows, axis=1) * np.linalg.norm(queries, axis=1)[:, None]
    return products


def best(scores, k, metric):
    """The ids of the k best, and their scores."""
    order = np.argsort(scores if metric == "l2" else -scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("screen", [None, "int8", "int4"])
@pytest.mark.parametrize("queries", [1, 3, 70])
def test_search(metric, screen, queries):
    rows, asked = data(), data(queries)
    index = made(rows, metric=metric, screen=screen)
    ids, scores = index.search(asked, 10)
    right, exact = best(scores_of(rows, asked, metric), 10, metric)
    assert ids.dtype == np.int64 and scores.dtype == np.float32
    assert (ids == right).all()
    np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype, error", [("f16", 1e-3), ("bf16", 1e-2), ("int8", 2e-2)])
def test_stores(dtype, error):
    rows, asked = data(), data(4)
    index = made(rows, dtype=dtype)
    assert index.dtype == dtype
    ids, scores = index.search(asked, 5)
    kept = index.reconstruct(np.arange(ROWS))
    np.testing.assert_allclose(kept, rows, atol=error * np.abs(rows).max())
    right, exact = best(scores_of(kept, asked, "dot"), 5, "dot")
    assert (ids == right).all()
    np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-5)


def test_one_query_has_one_axis():
    rows = data()
    index = made(rows)
    ids, scores = index.search(rows[3], 4)
    assert ids.shape == scores.shape == (4,)
    both = index.search(rows[3:4], 4)
    assert (both[0][0] == ids).all() and (both[1][0] == scores).all()


def test_short_answers_are_filled():
    index = made(np.eye(3, dtype=np.float32))
    ids, scores = index.search([1, 0, 0], 5)
    assert ids.tolist() == [0, 1, 2, -1, -1] and scores[3:].tolist() == [-np.inf] * 2
    ids, scores = dotk.Index(3, "l2").search([[1, 0, 0]], 2)
    assert ids.tolist() == [[-1, -1]] and scores.tolist() == [[np.inf] * 2]
    ids, scores = index.search(np.empty((0, 3), np.float32), 5)
    assert ids.shape == scores.shape == (0, 5)


def test_rows_by_stride():
    wide = data(2 * ROWS, DIM + 5)
    part = wide[::2, 2 : 2 + DIM]
    index, copy = made(part), made(part.copy())
    queries = part[7:50:3]
    for one, other in zip(index.search(queries, 6), copy.search(queries.copy(), 6)):
        assert (one == other).all()


def test_out():
    rows = data()
    index = made(rows)
    ids, scores = np.empty((5, 4), np.int64), np.empty((5, 4), np.float32)
    out = ids, scores
    assert index.search(rows[:5], 4, out=out) is out
    fresh = index.search(rows[:5], 4)
    assert (fresh[0] == ids).all() and (fresh[1] == scores).all()
    with pytest.raises(TypeError, match="out is a .*ndarray.*: give a tuple of two arrays"):
        index.search(rows[:5], 4, out=ids)
    with pytest.raises(TypeError, match=r"out\[0\] holds float32: give int64"):
        index.search(rows[:5], 4, out=(scores, ids))
    with pytest.raises(ValueError, match=r"out\[1\] has the shape \(4, 4\): give \(5, 4\)"):
        index.search(rows[:5], 4, out=(ids, scores[:4]))
    with pytest.raises(ValueError, match=r"out\[0\]: .*2 elements apart"):
        index.search(rows[:5], 2, out=(ids[:, ::2], scores[:, :2].copy()))


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, ROWS])
def test_filters_agree(count):
    rows, asked = data(), data(3)
    index = made(rows)
    allowed = np.zeros(count, bool)
    allowed[rng.permutation(count)[: count // 2]] = True
    masked = scores_of(rows, asked, "dot")
    masked[:, ~np.resize(np.append(allowed, np.zeros(ROWS - count, bool)), ROWS)] = -np.inf
    right, _ = best(masked, 3, "dot")
    right[np.take_along_axis(masked, right, 1) == -np.inf] = -1
    packed = np.packbits(allowed, bitorder="little")
    chosen = np.flatnonzero(allowed)
    for filter in (allowed, allowed.tolist(), packed, chosen, chosen.tolist(), chosen.astype("u2")):
        if isinstance(filter, list) and not filter:
            continue
        ids, _ = index.search(asked, 3, filter=filter)
        assert (ids == right).all()


@pytest.mark.parametrize("count", [7, 8, 64, ROWS])
def test_true_may_be_any_byte_but_0(count):
    """What is viewed, mapped or borrowed as bool need not hold 0 and 1."""
    index = made(data())
    values = np.resize(np.array([2, 0, 255, 128, 0, 1, 127, 254, 0], np.uint8), count)
    filter = values.view(bool)
    ids, _ = index.search(data(3), ROWS, filter=filter)
    for row in ids:
        assert set(row.tolist()) - {-1} == set(np.flatnonzero(values).tolist())


def test_filter_refused():
    index = made(data())
    with pytest.raises(ValueError, match="sort them"):
        index.search(data(1), 3, filter=[5, 4])
    with pytest.raises(TypeError, match="filter holds float64: give bool or uint8 or int64"):
        index.search(data(1), 3, filter=np.ones(3))
    with pytest.raises(ValueError, match="filter has 2 axes: give 1"):
        index.search(data(1), 3, filter=np.ones((3, 3), bool))


def test_changes():
    rows = data()
    index = dotk.Index(DIM)
    given = np.arange(ROWS, dtype=np.int64) * 7 + 5
    index.add(rows, given)
    assert len(index) == ROWS
    index.remove(given[::2])
    assert len(index) == ROWS // 2
    ids, _ = index.search(rows[1:50:2], 3)
    assert not np.isin(ids, given[::2]).any()
    index.update(rows[:2], [given[1], given[3]])
    assert (index.reconstruct(int(given[3])) == rows[1]).all()
    assert (index.reconstruct([given[1], given[5]]) == rows[[0, 5]]).all()
    for one in (given[3], np.int32(given[3]), np.uint8(given[3]), np.array(given[3])):
        assert index.reconstruct(one).shape == (DIM,) and (index.reconstruct(one) == rows[1]).all()
    assert index.reconstruct(given[3:4]).shape == (1, DIM)
    for one in (np.float32(26), np.array(26.0)):
        with pytest.raises((TypeError, ValueError), match="ids"):
            index.reconstruct(one)
    out = np.empty((1, DIM), np.float32)
    assert index.reconstruct(given[1:2], out=out) is out and (out[0] == rows[0]).all()
    with pytest.raises(KeyError, match="5"):
        index.remove([5])
    with pytest.raises(KeyError):
        index.reconstruct(6)
    with pytest.raises(ValueError, match="12 is present|12"):
        index.add(rows[:1], [12])
    with pytest.raises(ValueError, match="ids has 2 ids and rows 1 rows"):
        index.add(rows[:1], [1, 2])
    with pytest.raises(TypeError, match="ids holds float64: give int64"):
        index.remove([0.5])
    index.add(np.empty((0, DIM)), [])
    index.remove([])


def test_range():
    rows, asked = data(), data(5)
    index = made(rows, metric="l2")
    exact = scores_of(rows, asked, "l2")
    threshold = float(np.median(exact))
    stats = {}
    starts, ids, scores = index.range(asked, threshold, stats=stats)
    assert starts.shape == (6,) and starts[0] == 0 and starts[-1] == len(ids) == len(scores)
    for i in range(5):
        found = ids[starts[i] : starts[i + 1]]
        assert set(found) == set(np.flatnonzero(exact[i] <= threshold))
        assert (np.diff(scores[starts[i] : starts[i + 1]]) >= 0).all()
    assert stats["rows_scored"] == 5 * ROWS
    starts, ids, scores = index.range(asked[0], -1)
    assert starts.tolist() == [0, 0] and len(ids) == len(scores) == 0
    with pytest.raises(ValueError, match="threshold is NaN"):
        index.range(asked, float("nan"))


def test_stats_and_plan():
    index = made(data())
    stats = {"mine": 1}
    index.search(data(3), 4, filter=[1, 2, 3], stats=stats)
    assert stats["mine"] == 1 and stats["rows_scored"] == 9 and stats["path"] in index.plan(3, 4)
    with pytest.raises(TypeError, match=r"stats is \[\]: give a dict"):
        index.search(data(3), 4, stats=[])


def test_clip_at_zero():
    index = made(np.array([[1.0], [-1.0]], np.float32))
    assert index.search([1], 2, clip_at_zero=True)[1].tolist() == [1.0, 0.0]


def test_merge():
    rows, asked = data(), data(6)
    whole = made(rows).search(asked, 5)
    parts = []
    for first in range(0, ROWS, 100):
        shard = dotk.Index(DIM)
        shard.add(rows[first : first + 100], np.arange(first, first + 100))
        parts.append(shard.search(asked, 5))
    ids, scores = dotk.topk_merge([p[0] for p in parts], [p[1] for p in parts])
    assert (ids == whole[0]).all() and (scores == whole[1]).all()
    one = dotk.topk_merge([p[0][2] for p in parts], [p[1][2] for p in parts], "dot")
    assert (one[0] == whole[0][2]).all() and (one[1] == whole[1][2]).all()
    with pytest.raises(ValueError, match="ids and scores differ in shape"):
        dotk.topk_merge([[1]], [[1.0, 2.0]])


def test_what_it_is():
    context = dotk.Context(2)
    index = dotk.Index(8, "cosine", "int8", screen="int8", context=context)
    assert (index.dim, index.metric, index.dtype, index.screen) == (8, "cosine", "int8", "int8")
    assert index.context is context and len(index) == 0
    assert repr(index) == (
        "<dotk.Index of 0 rows: dim=8, metric='cosine', dtype='int8', screen='int8'>"
    )


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda: dotk.Index(0), ValueError, "dim is 0"),
        (lambda: dotk.Index(-1), ValueError, "dim is -1: give 0 or more"),
        (lambda: dotk.Index(2.5), TypeError, "dim is 2.5: give an int"),
        (lambda: dotk.Index(1 << 70), ValueError, "give less than 2"),
        (lambda: dotk.Index(2, "euclid"), ValueError, "'euclid': give \"dot\" or \"cosine\""),
        (lambda: dotk.Index(2, 3), TypeError, "metric is 3: give \"dot\""),
        (lambda: dotk.Index(2, dtype="f64"), ValueError, "dtype is 'f64': give \"f32\""),
        (lambda: dotk.Index(2, expect_unit=1), TypeError, "expect_unit is 1: give True or False"),
        (lambda: dotk.Index(2, delta=0.5), ValueError, "delta"),
        (lambda: dotk.Index(2, "dot", "f32", "int8"), TypeError, "3 positional"),
        (lambda: dotk.Index(2).add([[1, 2, 3]]), ValueError, "rows of 3 values: give rows of 2"),
        (lambda: dotk.Index(2).add([[1, np.nan]]), ValueError, r"rows\[0\] has .* not finite"),
        (lambda: dotk.Index(2).add([[[1, 2]]]), ValueError, "rows has 3 axes: give 1 to 2"),
        (lambda: dotk.Index(2).add("ab"), TypeError, "rows is a <class 'str'>"),
        (lambda: dotk.Index(2).search([1, 2], 0), ValueError, "k is 0"),
        (lambda: dotk.Index(2).search([1, 2], -3), ValueError, "k is -3"),
        (lambda: dotk.Index(2).search([1, np.inf], 3), ValueError, "quer"),
        (lambda: dotk.Index(2).search([[1, 2, 3]], 3), ValueError, "queries has rows of 3"),
        (lambda: dotk.Index(2, expect_unit=True).search([1, 2], 1), ValueError, "unit"),
        (lambda: dotk.Index(2).update([1, 2], [0]), KeyError, "0"),
        (lambda: dotk.Index(2).add([1, 2], [-1]), ValueError, "-1"),
        (lambda: dotk.Index(2).add([1, 2], np.array([1], "u8")), TypeError, "ids holds uint64"),
    ],
)
def test_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_searches_while_rows_change():
    """Each search sees whole changes only: every row that it finds is one that was added whole."""
    index = dotk.Index(4, "l2", context=dotk.Context(1))
    index.add(np.zeros((64, 4), np.float32))
    stop, wrong = threading.Event(), []

    def search():
        while not stop.is_set():
            _, scores = index.search(np.zeros((2, 4), np.float32), 1)
            if (scores != 0).any():
                wrong.append(scores)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(100):
        index.add(np.full((50, 4), i + 1, np.float32))
        index.remove(np.arange(64 + 50 * i, 64 + 50 * i + 25))
        index.update(np.full((1, 4), 9, np.float32), [64 + 50 * i + 30])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(index) == 64 + 100 * 25
