"""Whatever reaches the functions of attention and layers: the right answer, or a clear refusal."""

import dotk
import numpy as np
import pytest
from attention_reference import exact
from test_anything import anything, outcome

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

NAMES = ("scale", "causal", "window_left", "query_offset", "key_lengths", "mask", "bias", "blocks")
NAMES += ("softcap", "dropout", "seed", "slopes", "sinks", "query_starts", "key_starts", "lse")
NAMES += ("key_scales", "value_scales", "query_offsets", "out", "context")


@given(anything, anything, anything, st.dictionaries(st.sampled_from(NAMES), anything, max_size=2))
def test_any_arguments(q, k, v, options):
    for call in (dotk.attention, dotk.attention_plan):
        outcome(call, q, k, v, **options)
    options = {k: v for k, v in options.items() if k not in ("lse", "value_scales")}
    outcome(dotk.attention_weights, q, k, **options)
    outcome(dotk.linear_attention, q, k, v)
    outcome(dotk.attention_merge, q, k, v, q)
    outcome(dotk.dense, q, k, v)
    outcome(dotk.rotary, q)
    outcome(dotk.multihead, q, k, v, {"in_proj_weight": q, "out_proj.weight": k}, 1)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 1.0, 1.0, np.nan, np.inf, 6e4]))
def test_arrays_that_fit(seed, special):
    """Shapes that go together, of mixed types, lying in any order, with one special value."""
    random = np.random.default_rng(seed)
    B, G, group, L, S, D, E = random.integers(1, (3, 3, 3, 6, 7, 6, 6))
    types = [random.choice(["f4", "f4", "f4", "f8", "i4", "f2"]) for _ in range(3)]

    def array(type, *shape):
        order = [*random.permutation(3), 3] if random.random() < 0.8 else random.permutation(4)
        values = random.standard_normal([shape[i] for i in order]) * 2
        return values.astype(type).transpose(np.argsort(order))

    q = array(types[0], B, G * group, L, D)
    k, v = array(types[1], B, G, S, D), array(types[2], B, G, S, E)
    if q.dtype.kind == "f":
        q.flat[random.integers(q.size)] = special
    causal = bool(random.integers(2))
    options = {"causal": causal, "query_offset": int(random.integers(-L, S + 1))}
    options["mask"] = random.random((L, S)) < 0.7
    out = outcome(dotk.attention, q, k, v, **options)
    if out is None or special != 1.0:
        return
    near = 2e-5 if out.dtype == np.float32 else 2e-2
    np.testing.assert_allclose(out, exact(q, k, v, options)[0], atol=near, rtol=near)
