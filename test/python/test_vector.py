"""Functions of one or two vectors: values, shapes, outputs, refusals."""

import dotk
import numpy as np
import pytest

rng = np.random.default_rng(1)


def rows(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("dim", [1, 3, 255, 256, 257, 768])
def test_two_vectors(dim):
    a, b = rows(dim), rows(dim)
    wide_a, wide_b = a.astype(float), b.astype(float)
    bound = (dim + 1) * 2.0**-23 * np.abs(wide_a * wide_b).sum()
    cosine = wide_a @ wide_b / np.linalg.norm(wide_a) / np.linalg.norm(wide_b)
    assert abs(dotk.dot(a, b) - wide_a @ wide_b) <= bound
    assert dotk.l2(a, b) == pytest.approx(((wide_a - wide_b) ** 2).sum(), rel=1e-5)
    assert dotk.norm(a) == pytest.approx(np.linalg.norm(wide_a), rel=1e-6)
    assert dotk.cosine(a, b) == pytest.approx(cosine, abs=1e-6)
    assert dotk.angle(a, b) == pytest.approx(np.arccos(cosine), abs=1e-3)
    np.testing.assert_allclose(
        dotk.project(a, b), wide_a @ wide_b / (wide_b @ wide_b) * wide_b, rtol=1e-5, atol=1e-6
    )


def test_rows_are_the_vectors_one_by_one():
    a, b = rows(2, 5, 7), rows(2, 5, 7)
    for function in (dotk.dot, dotk.l2, dotk.cosine, dotk.angle):
        whole = function(a, b)
        assert whole.shape == (2, 5) and whole.dtype == np.float32
        against_one = function(a, b[0, 0])
        for place in np.ndindex(2, 5):
            assert whole[place] == function(a[place], b[place])
            assert against_one[place] == function(a[place], b[0, 0])
    for function in (dotk.normalize, dotk.softmax, dotk.log_softmax):
        whole = function(a)
        assert whole.shape == a.shape
        for place in np.ndindex(2, 5):
            assert (whole[place] == function(a[place])).all()


def test_strides_are_followed():
    wide = rows(6, 4, 20)
    part = wide[::2, 1:3, 5:12]
    assert not part.flags.c_contiguous
    assert (dotk.norm(part) == dotk.norm(part.copy())).all()
    assert (dotk.softmax(part) == dotk.softmax(part.copy())).all()


def test_softmax():
    a = rows(4, 9) * 30
    exact = np.exp(a.astype(float) - a.max(-1, keepdims=True))
    exact /= exact.sum(-1, keepdims=True)
    np.testing.assert_allclose(dotk.softmax(a), exact, rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(dotk.log_softmax(a), np.log(exact), rtol=1e-6, atol=1e-6)
    cool = dotk.softmax(a, temperature=2.0)
    np.testing.assert_allclose(cool, dotk.softmax(a / 2), rtol=1e-6)


def test_out():
    a = rows(5, 7)
    out = np.empty_like(a)
    assert dotk.normalize(a, out=out) is out
    assert (out == dotk.normalize(a)).all()
    assert dotk.normalize(a, out=a) is a and (a == out).all()
    lengths = np.empty(5, np.float32)
    assert dotk.norm(a, out=lengths) is lengths
    for wrong in (np.empty(4, np.float32), np.empty((5, 1), np.float32)):
        with pytest.raises(ValueError, match="out has .* give"):
            dotk.norm(a, out=wrong)
    with pytest.raises(TypeError, match="out holds float64: give float32"):
        dotk.norm(a, out=np.empty(5))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out cannot be written to"):
        dotk.normalize(a, out=out)


@pytest.mark.parametrize("type", ["f2", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_other_number_types_are_converted(type):
    a = np.arange(1, 9).astype(type)
    assert dotk.dot(a, np.ones(8, np.float32)) == 36
    assert dotk.dot(a.tolist(), a) == 204


def test_bfloat16_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    a = np.array([1.5, -2, 3], ml_dtypes.bfloat16)
    assert dotk.dot(a, [1.0, 1.0, 1.0]) == 2.5


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda a: dotk.dot("x", a), TypeError, "a is a <class 'str'>: give an array"),
        (lambda a: dotk.dot(a[::2], a), ValueError, "2 elements apart.*a.copy"),
        (lambda a: dotk.dot(a, a[:-1]), ValueError, "8 values and b of 7"),
        (lambda a: dotk.dot(a, a.astype(complex)), TypeError, "b holds .*'Zd': give float32"),
        (lambda a: dotk.dot(a, a.astype(">f4")), TypeError, "b holds .*'>f'"),
        (lambda a: dotk.dot(a, [[1], [2, 3]]), ValueError, "b: .*inhomogeneous"),
        (lambda a: dotk.norm(np.float32(3)), ValueError, "a has 0 axes: give 1 to 8"),
        (lambda a: dotk.norm(np.broadcast_to(a, (3, 8))), ValueError, "axis 0 .* stride of 0"),
        (lambda a: dotk.norm(a == 0), TypeError, "a holds bool: give float32"),
        (lambda a: dotk.cosine(a, a * 0), ValueError, "b is a zero vector"),
        (lambda a: dotk.normalize([a, a * 0]), ValueError, "row 1: a is a zero vector"),
        (lambda a: dotk.softmax(a, temperature=0), ValueError, "temperature is 0"),
        (lambda a: dotk.softmax(a, temperature="hot"), TypeError, "temperature is 'hot'"),
        (lambda a: dotk.softmax(a, 2.0), TypeError, "1 positional arguments but 2"),
        (lambda a: dotk.dot(a), TypeError, "lacks its argument 'b'"),
        (lambda a: dotk.dot(a, b=a, c=a), TypeError, "unexpected keyword argument 'c'"),
        (lambda a: dotk.dot(a, a, a=a), TypeError, "multiple values for argument 'a'"),
        (lambda a: dotk.inspect(a, context=1), TypeError, "context is 1: give a dotk.Context"),
        (lambda a: dotk.inspect(np.zeros((3, 0))), ValueError, "dim is 0"),
    ],
)
def test_refused(call, error, says):
    with pytest.raises(error, match=says):
        call(np.arange(1, 9, dtype=np.float32))


def test_inspect():
    a = rows(10, 4)
    a[3] = np.nan
    a[4] = 0
    a[6] = a[5]
    found = dotk.inspect(a)
    assert (found["rows"], found["dim"], found["nan_rows"], found["zero_rows"]) == (10, 4, 1, 1)
    assert found["duplicate_rows"] == 1 and found["metric"] in ("dot", "cosine", "l2")
