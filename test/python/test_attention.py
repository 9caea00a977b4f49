"""Attention: values against the definition, strides, options, outputs, gradients, refusals."""

import dotk
import numpy as np
import pytest
from attention_reference import exact, gradients

rng = np.random.default_rng(2)


def normal(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


B, H, G, L, S, D, E = 2, 4, 2, 5, 70, 8, 6

CASES = {
    "plain": {},
    "scale": {"scale": 0.3},
    "causal": {"causal": True},
    "bottom right": {"causal": True, "query_offset": S - L},
    "offsets": {"causal": True, "query_offsets": [3, 60]},
    "window left": {"window_left": 2, "query_offset": 30},
    "window right": {"window_right": 3},
    "window": {"window_left": 4, "window_right": 1, "query_offset": 20},
    "lengths": {"key_lengths": [70, 11]},
    "mask (L, S)": {"mask": rng.random((L, S)) < 0.5},
    "mask (S)": {"mask": rng.random(S) < 0.5},
    "mask (B, 1, 1, S)": {"mask": rng.random((B, 1, 1, S)) < 0.5},
    "mask by strides": {"mask": np.broadcast_to(rng.random((B, 1, L, S)) < 0.5, (B, H, L, S))},
    "mask hides all": {"mask": np.zeros((L, S), bool)},
    "bias (H, L, S)": {"bias": normal(H, L, S)},
    "bias (B, 1, L, S)": {"bias": normal(B, 1, L, S)},
    "bias and mask": {"bias": normal(B, H, 1, S), "mask": rng.random((L, S)) < 0.7},
    "bias excludes": {"bias": np.where(rng.random((L, S)) < 0.5, 0, -np.inf).astype(np.float32)},
    "blocks": {"blocks": (2, 16, [0, 1, 3, 5], [0, 1, 4, 0, 2])},
    "softcap": {"softcap": 1.5, "scale": 2.0},
    "slopes": {"slopes": [0.5, 0.25, 0.1, 0.05], "causal": True, "query_offset": 9},
    "sinks": {"sinks": [0.5, -1.0, 3.0, 0.0]},
    "sinks alone": {"sinks": [0.5, -1.0, 3.0, 0.0], "key_lengths": [0, 0]},
    "all": {
        "causal": True,
        "query_offset": 40,
        "window_left": 30,
        "key_lengths": [60, 41],
        "mask": rng.random((B, 1, L, S)) < 0.8,
        "bias": normal(1, H, L, S),
        "softcap": 3.0,
        "slopes": [0.01, 0.02, 0.03, 0.04],
        "sinks": [0.1, 0.2, 0.3, 0.4],
        "scale": 0.4,
    },
}


def arrays():
    return normal(B, H, L, D), normal(B, G, S, D), normal(B, G, S, E)


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_options(options):
    q, k, v = arrays()
    out, lse = dotk.attention(q, k, v, lse=True, **options)
    right, right_lse, weights, scores = exact(q, k, v, options)
    assert out.dtype == lse.dtype == np.float32 and out.shape == (B, H, L, E)
    np.testing.assert_allclose(out, right, atol=4e-6)
    np.testing.assert_allclose(lse, right_lse, atol=4e-6)
    np.testing.assert_allclose(dotk.attention_weights(q, k, **options), weights, atol=4e-6)
    np.testing.assert_allclose(
        dotk.attention_weights(q, k, average=True, **options), weights.mean(1), atol=4e-6
    )
    found = dotk.attention_scores(q, k, **options)
    assert ((found == -np.inf) == (scores == -np.inf)).all()
    np.testing.assert_allclose(found, scores, atol=2e-5)
    assert dotk.attention_plan(q, k, v, **options).split()[0] in ("rows", "chunks", "empty")


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_gradients(options):
    q, k, v = arrays()
    out, lse = dotk.attention(q, k, v, lse=True, **options)
    d_out = normal(*out.shape)
    names = ["q", "k", "v"] + [name for name in ("bias", "sinks") if name in options]
    found = dotk.attention_backward(q, k, v, out, lse, d_out, gradients=names, **options)
    right = gradients(q, k, v, d_out, options)
    assert list(found) == names
    for name in names:
        expected = right[name]
        if name == "bias":
            shape = options["bias"].shape
            padded = (1,) * (4 - len(shape)) + shape
            axes = tuple(i for i in range(4) if padded[i] == 1 and expected.shape[i] != 1)
            expected = expected.sum(axes, keepdims=True).reshape(shape)
        assert found[name].shape == expected.shape and found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], expected, atol=3e-5, err_msg=name)


def test_stages_of_scores():
    q, k, _ = arrays()
    options = {"softcap": 2.0, "slopes": [1.0, 1.0, 1.0, 1.0], "causal": True}
    product = dotk.attention_scores(q, k, stage="product", **options)
    np.testing.assert_allclose(
        product, np.einsum("bhld,bhsd->bhls", q, np.repeat(k, 2, 1)) / D**0.5, atol=1e-5
    )
    capped = dotk.attention_scores(q, k, stage="capped", **options)
    np.testing.assert_allclose(capped, 2 * np.tanh(product / 2), atol=1e-5)


def test_fewer_axes():
    q, k, v = normal(1, 3, 5, 4), normal(1, 3, 7, 4), normal(1, 3, 7, 2)
    out, lse = dotk.attention(q, k, v, causal=True, lse=True)
    for cut in (q[0], k[0], v[0]), (q[0, :1], k[0, :1], v[0, :1]):
        heads = len(cut[0])
        less, less_lse = dotk.attention(*cut, causal=True, lse=True)
        assert (less == out[0, :heads]).all() and (less_lse == lse[0, :heads]).all()
    one, one_lse = dotk.attention(q[0, 0], k[0, 0], v[0, 0], causal=True, lse=True)
    assert (one == out[0, 0]).all() and (one_lse == lse[0, 0]).all()
    assert dotk.attention_weights(q[0], k[0]).shape == (3, 5, 7)
    assert dotk.attention_weights(q[0], k[0], average=True).shape == (5, 7)
    assert dotk.attention_weights(q[0, 0], k[0, 0], average=True).shape == (5, 7)
    d = np.ones_like(one)
    found = dotk.attention_backward(q[0, 0], k[0, 0], v[0, 0], one, one_lse, d, causal=True)
    assert [found[name].shape for name in "qkv"] == [(5, 4), (7, 4), (7, 2)]


def swapped(x):
    """The same numbers, lying as (B, L, H, D)."""
    return x.swapaxes(1, 2).copy().swapaxes(1, 2)


def spread(x):
    """The same numbers in an array of which they are a part."""
    wide = np.full((*x.shape[:-2], x.shape[-2] + 1, 3 * x.shape[-1]), np.nan, np.float32)
    part = wide[..., :-1, x.shape[-1] : 2 * x.shape[-1]]
    part[...] = x
    return part


@pytest.mark.parametrize("lay", [swapped, spread])
def test_strides(lay):
    q, k, v = arrays()
    out, lse = dotk.attention(q, k, v, causal=True, lse=True)
    d_out = normal(*out.shape)
    right = dotk.attention_backward(q, k, v, out, lse, d_out, causal=True)
    q, k, v, placed, d_out = (lay(x) for x in (q, k, v, np.zeros_like(out), d_out))
    assert dotk.attention(q, k, v, causal=True, out=placed) is placed
    assert (placed == out).all()
    found = dotk.attention_backward(q, k, v, placed, lse, d_out, causal=True)
    for name, array in zip("qkv", (q, k, v)):
        assert (found[name] == right[name]).all() and found[name].strides == array.strides


def test_packed_sequences():
    q, k, v = normal(H, 9, D), normal(G, 20, D), normal(G, 20, E)
    query_starts, key_starts = [0, 2, 2, 9], [0, 7, 8, 20]
    packed = {"query_starts": query_starts, "key_starts": key_starts}
    out, lse = dotk.attention(q, k, v, causal=True, query_offsets=[5, 0, 5], lse=True, **packed)
    for n, offset in enumerate([5, 0, 5]):
        i = slice(query_starts[n], query_starts[n + 1])
        j = slice(key_starts[n], key_starts[n + 1])
        one = dotk.attention(q[:, i], k[:, j], v[:, j], causal=True, query_offset=offset)
        assert (out[:, i] == one).all()
    found = dotk.attention_backward(q, k, v, out, lse, np.ones_like(out), causal=True,
                                    query_offsets=[5, 0, 5], **packed)
    assert np.isfinite(found["k"]).all() and (found["k"][:, 7:8] == 0).all()


@pytest.mark.parametrize("name, bits", [("float16", 11), ("bfloat16", 8)])
def test_halves(name, bits):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    type = np.dtype(getattr(ml_dtypes, name, name))
    q, k, v = (x.astype(type) for x in arrays())
    out, lse = dotk.attention(q, k, v, lse=True)
    right, right_lse, _, _ = exact(q, k, v, {})
    assert out.dtype == type and lse.dtype == np.float32
    np.testing.assert_allclose(out.astype(float), right, atol=8 * 2.0**-bits)
    d_out = normal(*out.shape).astype(type)
    found = dotk.attention_backward(q, k, v, out, lse, d_out)
    for key, expected in gradients(q, k, v, d_out, {}).items():
        if key in "qkv":
            assert found[key].dtype == type
            np.testing.assert_allclose(found[key].astype(float), expected, atol=32 * 2.0**-bits)


def test_int8_keys_and_values():
    q, k, v = arrays()
    codes, scales = [], []
    for x in (k, v):
        scale = np.abs(x).max(-1) / 127
        codes.append(np.rint(x / scale[..., None]).astype(np.int8))
        scales.append(scale.astype(np.float32))
    out = dotk.attention(q, *codes, key_scales=scales[0], value_scales=scales[1])
    wide = [c * s[..., None] for c, s in zip(codes, scales)]
    np.testing.assert_allclose(out, exact(q, *wide, {})[0], atol=1e-5)
    mixed = dotk.attention(q, codes[0], v, key_scales=scales[0])
    np.testing.assert_allclose(mixed, exact(q, wide[0], v, {})[0], atol=1e-5)
    one = dotk.attention(q[0], codes[0][0], v[0], key_scales=scales[0][0])
    assert (one == mixed[0]).all()


def test_dropout_is_that_of_its_seed():
    q, k, v = normal(2, 3, 40, 8), normal(2, 3, 50, 8), normal(2, 3, 50, 8)
    out = dotk.attention(q, k, v, dropout=0.3, seed=5)
    assert (out == dotk.attention(q, k, v, dropout=0.3, seed=5)).all()
    assert (out != dotk.attention(q, k, v, dropout=0.3, seed=6)).any()
    weights = dotk.attention_weights(q, k, dropout=0.3, seed=5)
    whole = dotk.attention_weights(q, k)
    assert abs((weights == 0).mean() - 0.3) < 0.02
    kept = weights != 0
    np.testing.assert_allclose(weights[kept], whole[kept] / 0.7, rtol=1e-5)
    np.testing.assert_allclose(out, weights.astype(float) @ v, atol=1e-5)


def test_merge():
    q, k, v = normal(3, 5, 4), normal(3, 11, 4), normal(3, 11, 4)
    a = dotk.attention(q, k[:, :4], v[:, :4], lse=True)
    b = dotk.attention(q, k[:, 4:], v[:, 4:], lse=True)
    out, lse = dotk.attention_merge(*a, *b)
    whole, whole_lse = dotk.attention(q, k, v, lse=True)
    np.testing.assert_allclose(out, whole, atol=2e-6)
    np.testing.assert_allclose(lse, whole_lse, atol=2e-6)
    with pytest.raises(ValueError, match="do not fit"):
        dotk.attention_merge(a[0], a[1][:2], *b)


def test_out():
    q, k, v = arrays()
    out, lse = np.empty((B, H, L, E), np.float32), np.empty((B, H, L), np.float32)
    found = dotk.attention(q, k, v, out=out, lse=lse)
    assert found[0] is out and found[1] is lse
    assert (out == dotk.attention(q, k, v)).all()
    weights = np.empty((B, H, L, S), np.float32)
    assert dotk.attention_weights(q, k, out=weights) is weights
    assert dotk.attention_scores(q, k, out=weights) is weights


def test_other_number_types_are_converted():
    q, k, v = arrays()
    right = dotk.attention(q, k, v)
    assert (dotk.attention(q.astype(float), k.tolist(), v) == right).all()
    assert (dotk.attention(q, k, v, mask=[True] * S, bias=[[0] * S]) == right).all()
    out, lse = dotk.attention(q, k, v, lse=True)
    found = dotk.attention_backward(q, k, v, out, lse, np.ones_like(out))
    for d_out in (np.ones(out.shape), np.ones(out.shape).tolist()):
        again = dotk.attention_backward(q, k, v, out.tolist(), lse.astype(float), d_out)
        assert all((again[name] == found[name]).all() for name in found)


@pytest.mark.parametrize("b, h, l, s", [(0, 4, 5, 6), (2, 0, 5, 6), (2, 4, 0, 6), (2, 4, 5, 0)])
def test_nothing(b, h, l, s):
    q, k, v = normal(b, h, l, D), normal(b, h, s, D), normal(b, h, s, E)
    out, lse = dotk.attention(q, k, v, lse=True)
    assert out.shape == (b, h, l, E) and (out == 0).all() and (lse == -np.inf).all()
    found = dotk.attention_backward(q, k, v, out, lse, np.zeros_like(out))
    for name, array in zip("qkv", (q, k, v)):
        assert found[name].shape == array.shape and (found[name] == 0).all()


def test_numpy_flags():
    q, k, v = arrays()
    for causal in (True, False):
        right = dotk.attention(q, k, v, causal=causal)
        assert (dotk.attention(q, k, v, causal=np.bool_(causal)) == right).all()


def test_gradients_are_named_by_any_iterable():
    q, k, v = arrays()
    for names in ({"q", "v"}, iter("qv"), {"q": 1, "v": 2}, ["q", "v", "q"]):
        assert list(backward(q, k, v, gradients=names)) == ["q", "v"]


def backward(q, k, v, **more):
    out, lse = dotk.attention(q, k, v, lse=True)
    given = {"out": out, "lse": lse, "d_out": np.ones_like(out)} | more
    return dotk.attention_backward(q, k, v, **given)


ones = np.ones


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda q, k, v: dotk.attention(q, k), TypeError, "lacks its argument 'v'"),
        (lambda q, k, v: dotk.attention(q, k, v, 0.5), TypeError, "3 positional"),
        (lambda q, k, v: dotk.attention(q[0], k, v), ValueError, "k has 4 axes and q 3"),
        (lambda q, k, v: dotk.attention(q[:1], k, v), ValueError, "k has 2 batch entries and q 1"),
        (lambda q, k, v: dotk.attention(q[..., :4], k, v), ValueError, "k has 8 values a row.* 4"),
        (lambda q, k, v: dotk.attention(q, k, v[:, :1]), ValueError, "v has 1 heads and k 2"),
        (lambda q, k, v: dotk.attention(q, k, v[:, :, :9]), ValueError, "v has 9 rows and k 70"),
        (lambda q, k, v: dotk.attention(q, k, v[..., :0]), ValueError, "v has no values a row"),
        (lambda q, k, v: dotk.attention(q, k[:, :0], v[:, :0]), ValueError, "k has no heads"),
        (lambda q, k, v: dotk.attention(q[:, :3], k, v), ValueError, "^heads is 3, key_heads 2"),
        (lambda q, k, v: dotk.attention(q[0, 0, 0], k, v), ValueError, "q has 1 axes: give 2 to 4"),
        (lambda q, k, v: dotk.attention(q[..., ::2], k, v), ValueError, "2 elements apart.*q.copy"),
        (lambda q, k, v: dotk.attention(q[..., :0], k[..., :0], v), ValueError, "^width is 0"),
        (lambda q, k, v: dotk.attention(q, k.astype("f2"), v), TypeError, "k holds float16 and q"),
        (lambda q, k, v: dotk.attention(q, k.astype("i1"), v), TypeError, "give key_scales"),
        (
            lambda q, k, v: dotk.attention(q, k, v, mask=ones((L, S), np.uint8)),
            TypeError,
            r"mask holds uint8: pass mask\.astype\(bool\)",
        ),
        (
            lambda q, k, v: dotk.attention(q, k, v, mask=ones((L, S))),
            TypeError,
            "mask holds float64: give bool; numbers to add go to bias=",
        ),
        (lambda q, k, v: dotk.attention_weights(q, k, value_scales=1), TypeError, "unexpected"),
        (lambda q, k, v: dotk.attention_scores(q, k, value_scales=1), TypeError, "unexpected"),
        (
            lambda q, k, v: dotk.attention(q, k, v, key_scales=ones((B, G, S))),
            TypeError,
            "k does not hold int8: leave key_scales out",
        ),
        (
            lambda q, k, v: dotk.attention(q, k.astype("i1"), v, key_scales=ones((B, G, 3))),
            ValueError,
            "key_scales has 3 places on its axis 2 and k 70",
        ),
        (lambda q, k, v: dotk.attention(q, k, v, causal=1), TypeError, "causal is 1: give True"),
        (lambda q, k, v: dotk.attention(q, k, v, scale="a"), TypeError, "scale is 'a'"),
        (lambda q, k, v: dotk.attention(q, k, v, scale=1e300), ValueError, "scale is inf"),
        (lambda q, k, v: dotk.attention(q, k, v, dropout=1.0), ValueError, "^dropout is 1"),
        (lambda q, k, v: dotk.attention(q, k, v, seed=-1), ValueError, "seed is -1"),
        (lambda q, k, v: dotk.attention(q, k, v, softcap=-1), ValueError, "^softcap is -1"),
        (lambda q, k, v: dotk.attention(q, k, v, window_left=-2), ValueError, "window_left is -2"),
        (lambda q, k, v: dotk.attention(q, k, v, query_offset=99), ValueError, "offset is 99"),
        (lambda q, k, v: dotk.attention(q, k, v, query_offsets=[1]), ValueError, "1 entries: give"),
        (lambda q, k, v: dotk.attention(q, k, v, key_lengths=[1, 71]), ValueError, r"\[1\] is 71"),
        (lambda q, k, v: dotk.attention(q, k, v, key_lengths=[1, -1]), ValueError, r"\[1\] is -1"),
        (lambda q, k, v: dotk.attention(q, k, v, key_lengths=[1.0, 2]), TypeError, "holds float64"),
        (lambda q, k, v: dotk.attention(q, k, v, mask=ones((L, S))), TypeError, "give bool"),
        (lambda q, k, v: dotk.attention(q, k, v, mask=ones((L, 1), bool)), ValueError, "70 keys"),
        (lambda q, k, v: dotk.attention(q, k, v, mask=ones((3, S), bool)), ValueError, "5 queries"),
        (
            lambda q, k, v: dotk.attention(q, k, v, mask=ones((S, L), bool).T),
            ValueError,
            "mask: its axis 1 from the end has a stride of 5",
        ),
        (lambda q, k, v: dotk.attention(q, k, v, bias=ones((1, 3, L, S))), ValueError, "4 heads"),
        (lambda q, k, v: dotk.attention(q, k, v, slopes=[1.0]), ValueError, "slopes has 1 entries"),
        (lambda q, k, v: dotk.attention(q, k, v, sinks=[np.inf] * H), ValueError, r"sinks\[0\] is"),
        (lambda q, k, v: dotk.attention(q, k, v, blocks=(1, 2)), TypeError, "blocks is .1, 2."),
        (
            lambda q, k, v: dotk.attention(q, k, v, blocks=(2, 9, [0, 1], [0])),
            ValueError,
            "2 starts: give 4",
        ),
        (
            lambda q, k, v: dotk.attention(q, k, v, blocks=(2, 9, [0, 1, 1, 2], [0])),
            ValueError,
            "reaches 2, beyond the 1 columns",
        ),
        (
            lambda q, k, v: dotk.attention(q, k, v, blocks=(0, 9, [0], [0])),
            ValueError,
            "blocks are 0 x 9",
        ),
        (
            lambda q, k, v: dotk.attention(q, k, v, query_starts=[0, L]),
            ValueError,
            "query_starts has 2 entries and key_starts 0",
        ),
        (
            lambda q, k, v: dotk.attention(q, k, v, query_starts=[0, L], key_starts=[0, S]),
            ValueError,
            "batch is 2 with sequences 1",
        ),
        (lambda q, k, v: dotk.attention(q, k, v, lse=3), TypeError, "lse is a <class 'int'>"),
        (lambda q, k, v: dotk.attention(q, k, v, out=q), ValueError, "out has the shape"),
        (lambda q, k, v: dotk.attention(k, k, k, out=k), ValueError, "overlap"),
        (lambda q, k, v: dotk.attention(q, k, v, context=1), TypeError, "give a dotk.Context"),
        (lambda q, k, v: dotk.attention_scores(q, k, stage="raw"), ValueError, "stage is 'raw'"),
        (lambda q, k, v: backward(q, k, v, d_out=ones((B, H, L, E), complex)), TypeError, "^d_out"),
        (lambda q, k, v: backward(q, k, v, out=q), ValueError, "out has 8 places"),
        (
            lambda q, k, v: backward(q, k, v, d_out=np.asfortranarray(ones((B, H, L, E), "f4"))),
            ValueError,
            "d_out.*d_out.copy",
        ),
        (
            lambda q, k, v: backward(q, k, v, d_out=swapped(ones((B, H, L, E), "f4"))),
            ValueError,
            "d_out lies in memory otherwise",
        ),
        (lambda q, k, v: backward(q, k, v, lse=ones((B, H, 1), "f4")), ValueError, "lse has 1"),
        (lambda q, k, v: backward(q, k, v, gradients="q"), TypeError, "give a tuple of names"),
        (lambda q, k, v: backward(q, k, v, gradients=1), TypeError, "gradients is 1: give a tuple"),
        (lambda q, k, v: backward(q, k, v, gradients=["x"]), ValueError, "gradients is 'x'"),
        (lambda q, k, v: backward(q, k, v, gradients=["bias"]), ValueError, "bias is not given"),
    ],
)
def test_refused(call, error, says):
    q, k, v = arrays()
    with pytest.raises(error, match=says):
        call(q, k, v)
