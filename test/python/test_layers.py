"""Dense layers, rotary embedding, linear attention, multi-head attention: against numpy."""

import math

import dotk
import numpy as np
import pytest

rng = np.random.default_rng(3)
erf = np.vectorize(math.erf, otypes=[float])


def normal(*shape):
    return rng.standard_normal(shape, dtype=np.float32)


ACTIVATIONS = {
    "none": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "gelu": lambda z: z * (1 + erf(z / 2**0.5)) / 2,
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(7,), (1, 7), (40, 7), (2, 3, 7), (0, 7)])
def test_dense(activation, shape):
    x, w, b = normal(*shape), normal(70, 7), normal(70)
    right = ACTIVATIONS[activation](x.astype(float) @ w.T.astype(float) + b)
    out = dotk.dense(x, w, b, activation=activation)
    assert out.shape == (*shape[:-1], 70) and out.dtype == np.float32
    np.testing.assert_allclose(out, right, atol=5e-6)
    layer = dotk.Dense(w, b)
    assert (layer.inputs, layer.outputs) == (7, 70)
    assert (layer(x, activation=activation) == out).all()
    again = np.empty_like(out)
    assert layer(x, activation=activation, out=again) is again and (again == out).all()


def test_dense_strides():
    wide, w = normal(4, 6, 20), normal(9, 24)[:, 3:8]
    x = wide[:, :, 4:9]
    assert (dotk.dense(x, w) == dotk.dense(x.copy(), w.copy())).all()
    place = np.zeros((4, 6, 30), np.float32)
    dotk.dense(x, w, out=place[..., 1:10])
    assert (place[..., 1:10] == dotk.dense(x, w)).all() and (place[..., 10:] == 0).all()
    with pytest.raises(ValueError, match="x: its rows do not lie at one distance"):
        dotk.dense(wide[:, :5, 4:9], w)
    with pytest.raises(ValueError, match="x: its rows do not lie at one distance"):
        dotk.dense(x.swapaxes(0, 1), w)


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda x, w: dotk.dense(x, w[0]), ValueError, "weight has 1 axes: give 2"),
        (lambda x, w: dotk.dense(x[:, :3], w), ValueError, "x has rows of 3 values: give"),
        (lambda x, w: dotk.dense(x, w, [1.0]), ValueError, "bias has 1 values and weight 5 rows"),
        (lambda x, w: dotk.dense(x, w, activation="abs"), ValueError, "activation is 'abs'"),
        (lambda x, w: dotk.dense(x, w, out=x), ValueError, "out has the shape"),
        (lambda x, w: dotk.dense(x, w, out=w[:, :5]), ValueError, "out has the shape"),
        (lambda x, w: dotk.dense(x, x, out=np.empty((4, 4))), TypeError, "out holds float64"),
        (lambda x, w: dotk.dense(x, w[:0]), ValueError, "0"),
        (lambda x, w: dotk.Dense(w[:, ::2]), ValueError, "2 elements apart"),
        (lambda x, w: dotk.Dense(w)(x, 3), TypeError, "1 positional"),
        (lambda x, w: dotk.Dense(w)(x[:, :2]), ValueError, "x has rows of 2"),
        (lambda x, w: dotk.dense_plan(1, 0, 3), ValueError, "0"),
    ],
)
def test_dense_refused(call, error, says):
    with pytest.raises(error, match=says):
        call(normal(4, 7), normal(5, 7))


def turned(x, angles, interleaved):
    out = x.astype(float)
    pairs = angles.shape[-1]
    if interleaved:
        first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    else:
        first, second = slice(0, pairs), slice(pairs, 2 * pairs)
    a, b = out[..., first].copy(), out[..., second].copy()
    out[..., first] = a * np.cos(angles) - b * np.sin(angles)
    out[..., second] = b * np.cos(angles) + a * np.sin(angles)
    return out


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary(interleaved):
    x = normal(2, 3, 5, 8)
    frequencies = 10000.0 ** (-2 * np.arange(4) / 8)
    options = {"interleaved": interleaved}
    right = turned(x, (np.arange(5) + 7)[:, None] * frequencies, interleaved)
    out = dotk.rotary(x, offset=7, **options)
    np.testing.assert_allclose(out, right, atol=1e-6)
    np.testing.assert_allclose(dotk.rotary(out, offset=7, inverse=True, **options), x, atol=1e-6)
    positions = rng.integers(0, 100, (2, 5))
    right = turned(x, positions[:, None, :, None] * frequencies, interleaved)
    found = dotk.rotary(x, positions=positions, **options)
    np.testing.assert_allclose(found, right, atol=1e-6)
    angles = np.arange(100)[:, None] * frequencies
    tables = {"cosines": np.cos(angles), "sines": np.sin(angles)}
    found = dotk.rotary(x, positions=positions, **tables, **options)
    np.testing.assert_allclose(found, right, atol=1e-6)
    found = dotk.rotary(x, frequencies=frequencies[:2], rotary_width=4, **options)
    right = turned(x, np.arange(5)[:, None] * frequencies[:2], interleaved)
    np.testing.assert_allclose(found, right, atol=1e-6)
    assert (found[..., 4:] == x[..., 4:]).all()
    part = x.swapaxes(1, 2).copy().swapaxes(1, 2)
    assert dotk.rotary(part, offset=7, out=part, **options) is part and (part == out).all()
    assert (dotk.rotary(x[1], offset=7, **options) == out[1]).all()
    assert (dotk.rotary(x[1, 2], offset=7, **options) == out[1, 2]).all()
    half = dotk.rotary(x.astype("f2"), offset=7, **options)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, out, atol=4e-3)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"rotary_width": 3}, "rotary_width is 3"),
        ({"theta": 0.5}, "theta is 0.5"),
        ({"frequencies": [1.0]}, "frequencies .* one frequency for each pair"),
        ({"positions": [1, 2]}, "positions .* tokens"),
        ({"positions": [1, 2, 3], "offset": 1}, "offset"),
        ({"cosines": np.ones((3, 4)), "sines": np.ones((2, 4))}, "sines .* same shape as cosines"),
        ({"cosines": np.ones((3, 4))}, "sines is NULL|sines"),
        ({"sines": np.ones((3, 4))}, "sines .* same shape as cosines"),
    ],
)
def test_rotary_refused(options, says):
    with pytest.raises(ValueError, match=says):
        dotk.rotary(normal(3, 8), **options)


def passed(q, k, v, rule, decay, beta, scale, state):
    """Token by token, as the header states the rules."""
    B, H, T, D = q.shape
    G = k.shape[1]
    out = np.zeros((B, H, T, v.shape[-1]))
    for b, h, t in np.ndindex(B, G, T):
        s = state[b, h]
        if "gated" in rule:
            s *= np.exp(np.broadcast_to(decay[b, h, t], D))[:, None]
        value = v[b, h, t]
        if "delta" in rule:
            value = beta[b, h, t] * (value - s.T @ k[b, h, t])
        s += np.outer(k[b, h, t], value)
        for i in range(H // G):
            out[b, h * (H // G) + i, t] = scale * s.T @ q[b, h * (H // G) + i, t]
    return out


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("narrow", [False, True])
def test_linear_attention(rule, narrow):
    B, H, G, T, D, E = 2, 4, 2, 6, 5, 3
    q, k, v = normal(B, H, T, D), normal(B, G, T, D) / 3, normal(B, G, T, E)
    past = normal(B, G, D, E)
    options = {}
    if "gated" in rule:
        options["decay"] = -np.abs(normal(B, G, T) if narrow else normal(B, G, T, D))
    if "delta" in rule:
        options["beta"] = np.abs(normal(B, T) if narrow else normal(B, G, T))
    state = past.astype(float)
    decay, beta = options.get("decay"), options.get("beta")
    if beta is not None and narrow:
        beta = np.broadcast_to(beta[:, None], (B, G, T))
    right = passed(q, k, v, rule, decay, beta, D**-0.5, state)
    out, present = dotk.linear_attention(q, k, v, rule=rule, past=past, present=True, **options)
    np.testing.assert_allclose(out, right, atol=2e-5)
    np.testing.assert_allclose(present, state, atol=2e-5)
    swapped = [x.swapaxes(1, 2).copy().swapaxes(1, 2) for x in (q, k, v)]
    kept = past.copy()
    again, same = dotk.linear_attention(*swapped, rule=rule, past=kept, present=kept, **options)
    assert same is kept and (again == out).all() and (kept == present).all()


def test_linear_attention_normalized():
    x = np.abs(normal(1, 1, 4, 3))
    weights = np.tril(x[0, 0] @ x[0, 0].T)
    right = weights @ x[0, 0] / weights.sum(1, keepdims=True)
    out = dotk.linear_attention(x, x, x, normalize=True)
    np.testing.assert_allclose(out[0, 0], right, atol=1e-5)
    out = dotk.linear_attention(x, x, x, feature_map="elu_plus_1", scale=1.0, lengths=[2])
    weights = np.tril((x[0, 0] + 1) @ (x[0, 0] + 1).T)
    np.testing.assert_allclose(out[0, 0, :2], (weights @ x[0, 0])[:2], rtol=1e-5)
    assert (out[0, 0, 2:] == 0).all()


@pytest.mark.parametrize(
    "options, error, says",
    [
        ({"rule": "gated"}, ValueError, "decay is"),
        ({"rule": "other"}, ValueError, "rule is 'other'"),
        ({"decay": np.ones((1, 2, 3))}, ValueError, "decay is"),
        ({"rule": "gated", "decay": np.ones((1, 2, 4))}, ValueError, "decay has another shape"),
        ({"rule": "delta", "beta": np.ones((1, 4))}, ValueError, "beta has another shape"),
        ({"past": np.ones((1, 2, 5, 4))}, ValueError, "past has another shape"),
        ({"lengths": [4]}, ValueError, "lengths"),
        ({"lengths": [-1]}, ValueError, r"lengths\[0\] is -1"),
        ({"feature_map": 1}, TypeError, "feature_map is 1"),
    ],
)
def test_linear_attention_refused(options, error, says):
    x = normal(1, 2, 3, 4)
    with pytest.raises(error, match=says):
        dotk.linear_attention(x, x, x, **options)


def test_multihead():
    B, L, S, M, H = 2, 3, 5, 8, 2
    query, key, value = normal(B, L, M), normal(B, S, M), normal(B, S, M)
    names = {"in_proj_weight": (3 * M, M), "in_proj_bias": (3 * M,)}
    names |= {"out_proj.weight": (M, M), "out_proj.bias": (M,)}
    parameters = {name: normal(*shape) for name, shape in names.items()}
    hidden = rng.random((B, S)) < 0.4
    hidden[:, 0] = False
    options = {"batch_first": True, "key_padding_mask": hidden}
    out, weights = dotk.multihead(query, key, value, parameters, H, weights="heads", **options)

    w, b = parameters["in_proj_weight"].reshape(3, M, M), parameters["in_proj_bias"].reshape(3, M)
    heads = [
        (x @ w[i].T + b[i]).reshape(B, -1, H, M // H).swapaxes(1, 2)
        for i, x in enumerate((query, key, value))
    ]
    mask = ~hidden[:, None, None]
    right = dotk.attention_weights(heads[0].copy(), heads[1].copy(), mask=mask)
    np.testing.assert_allclose(weights, right, atol=1e-5)
    mixed = (right @ heads[2]).swapaxes(1, 2).reshape(B, L, M)
    np.testing.assert_allclose(
        out, mixed @ parameters["out_proj.weight"].T + parameters["out_proj.bias"], atol=2e-5
    )
    again, none, saved = dotk.multihead(query, key, value, parameters, H, saved=True, **options)
    assert (again == out).all() and none is None
    d_out = normal(B, L, M)
    found = dotk.multihead_backward(
        query, key, value, parameters, H, saved, d_out, **options
    )
    assert list(found) == ["query", "key", "value", *parameters]
    np.testing.assert_allclose(found["out_proj.bias"], d_out.sum((0, 1)), atol=1e-5)
    step = np.zeros_like(query)
    step[1, 2, 3] = 1e-2
    ahead = dotk.multihead(query + step, key, value, parameters, H, **options)
    behind = dotk.multihead(query - step, key, value, parameters, H, **options)
    slope = ((ahead.astype(float) - behind) * d_out).sum() / 2e-2
    assert found["query"][1, 2, 3] == pytest.approx(slope, abs=2e-3)
    only = dotk.multihead_backward(
        query, key, value, parameters, H, saved, d_out, gradients={"key"}, **options
    )
    assert list(only) == ["key"] and (only["key"] == found["key"]).all()


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda x, p: dotk.multihead(x, x, x, p, 3), ValueError, "heads is 3|heads 3"),
        (lambda x, p: dotk.multihead(x, x, x, [p], 2), TypeError, "give a dict"),
        (lambda x, p: dotk.multihead(x, x, x, p | {"a": x}, 2), ValueError, "parameters has 'a'"),
        (
            lambda x, p: dotk.multihead(x, x, x, p | {"out_proj.weight": None}, 2),
            ValueError,
            r"parameters has no out_proj\.weight: give it, \(4, 4\)",
        ),
        (
            lambda x, p: dotk.multihead(x, x, x, p | {"out_proj_weight": x}, 2),
            ValueError,
            "'out_proj_weight': give in_proj_weight.* bias_v, out_proj.weight, out_proj.bias",
        ),
        (
            lambda x, p: dotk.multihead(x, x, x, p | {"in_proj_weight": None}, 2),
            ValueError,
            "proj_weight is NULL",
        ),
        (
            lambda x, p: dotk.multihead(x, x, x, p | {"out_proj.bias": [1.0]}, 2),
            ValueError,
            r"out_proj.bias has another shape than it needs: give \(4\)",
        ),
        (lambda x, p: dotk.multihead(x[0], x, x, p, 2), ValueError, "query has 2 axes: give 3"),
        (lambda x, p: dotk.multihead(x, x[:, :1].copy(), x, p, 2), ValueError, "2, 1 and 2"),
        (
            lambda x, p: dotk.multihead(x, x, x, p, 2, attn_mask=np.ones((3, 2), bool)),
            ValueError,
            r"attn_mask .* give \(3, 3\)",
        ),
        (
            lambda x, p: dotk.multihead(x, x, x, p, 2, key_padding_mask=np.ones((2, 3))),
            TypeError,
            "give bool; numbers to add go to key_padding_bias=",
        ),
        (lambda x, p: dotk.multihead(x, x, x, p, 2, dropout=1), ValueError, "dropout is 1"),
        (
            lambda x, p: dotk.multihead_backward(x, x, x, p, 2, np.ones(3, "f4"), x),
            ValueError,
            "saved has another shape",
        ),
    ],
)
def test_multihead_refused(call, error, says):
    parameters = {"in_proj_weight": normal(12, 4), "out_proj.weight": normal(4, 4)}
    with pytest.raises(error, match=says):
        call(normal(3, 2, 4), parameters)
