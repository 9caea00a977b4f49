"""Attention as its definition has it, in float64 and with the matrix, for the tests to compare."""

import numpy as np


def counts(shape, options):
    """Which keys count: (B, H, L, S) of bool; and j - position(i) there."""
    B, H, L, S = shape
    offsets = options.get("query_offsets")
    offsets = np.full(B, options.get("query_offset", 0)) if offsets is None else np.array(offsets)
    i = np.arange(L)[None, :, None] + offsets[:, None, None]
    distance = (np.arange(S)[None, None, :] - i)[:, None]
    seen = np.ones(shape, bool)
    if options.get("causal"):
        seen &= distance <= 0
    if options.get("window_left", -1) >= 0:
        seen &= distance >= -options["window_left"]
    if options.get("window_right", -1) >= 0:
        seen &= distance <= options["window_right"]
    if options.get("key_lengths") is not None:
        seen &= (np.arange(S)[None, :] < np.array(options["key_lengths"])[:, None])[:, None, None]
    if options.get("mask") is not None:
        seen &= options["mask"]
    if options.get("bias") is not None:
        seen &= options["bias"] != -np.inf
    if options.get("blocks") is not None:
        rows, cols, starts, columns = options["blocks"]
        listed = np.zeros((L, S), bool)
        for row in range(len(starts) - 1):
            for column in columns[starts[row] : starts[row + 1]]:
                listed[row * rows : (row + 1) * rows, column * cols : (column + 1) * cols] = True
        seen &= listed
    return seen, distance


def exact(q, k, v, options):
    """(out, lse, weights, scores) of arrays of four axes, dropout left out."""
    q, k, v = (np.asarray(x).astype(float) for x in (q, k, v))
    group = q.shape[1] // max(k.shape[1], 1)
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = q @ k.swapaxes(-1, -2) * options.get("scale", q.shape[-1] ** -0.5)
    seen, distance = counts(s.shape, options)
    if options.get("softcap"):
        s = options["softcap"] * np.tanh(s / options["softcap"])
    if options.get("bias") is not None:
        s = s + np.where(options["bias"] == -np.inf, 0, options["bias"])
    if options.get("slopes") is not None:
        s = s - np.array(options["slopes"], float)[:, None, None] * np.abs(distance)
    s = np.where(seen, s, -np.inf)
    top = s.max(-1, keepdims=True, initial=-1e300)
    sink = 0
    if options.get("sinks") is not None:
        sinks = np.array(options["sinks"], float)[:, None, None]
        top = np.maximum(top, sinks)
        sink = np.exp(sinks - top)
    weights = np.exp(s - top)
    total = weights.sum(-1, keepdims=True) + sink
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + top)[..., 0]
    weights = weights / np.where(total == 0, 1, total)
    return weights @ v, np.where(total[..., 0] == 0, -np.inf, lse), weights, s


def gradients(q, k, v, d_out, options):
    """By q, k, v, bias (of full shape) and sinks."""
    out, lse, weights, s = exact(q, k, v, options)
    q, k, v, d_out = (np.asarray(x).astype(float) for x in (q, k, v, d_out))
    B, H, L, S = s.shape
    G = k.shape[1]
    wide_k, wide_v = np.repeat(k, H // G, 1), np.repeat(v, H // G, 1)
    scale = options.get("scale", q.shape[-1] ** -0.5)
    d_weights = d_out @ wide_v.swapaxes(-1, -2)
    delta = (d_out * out).sum(-1, keepdims=True)
    d_s = weights * (d_weights - delta)
    d_bias = d_s
    if options.get("softcap"):
        raw = q @ wide_k.swapaxes(-1, -2) * scale
        d_s = d_s * (1 - np.tanh(raw / options["softcap"]) ** 2)
    fold = lambda x: x.reshape(B, G, H // G, *x.shape[2:]).sum(2)
    d_sinks = None
    if options.get("sinks") is not None:
        share = np.exp(np.array(options["sinks"], float)[:, None, None] - lse[..., None])
        d_sinks = -(share * delta).sum((0, 2, 3))
    return {
        "q": d_s @ wide_k * scale,
        "k": fold(d_s.swapaxes(-1, -2) @ q * scale),
        "v": fold(weights.swapaxes(-1, -2) @ d_out),
        "bias": d_bias,
        "sinks": d_sinks,
    }
