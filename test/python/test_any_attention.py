"""Whatever reaches the functions of attention and layers: the right answer, or a clear refusal."""

import dotk
import numpy as np
import pytest
from attention_reference import exact
from test_anything import anything, arrays, outcome

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
    options = {name: value for name, value in options.items() if name != "lse"}
    outcome(dotk.attention_weights, q, k, **options)
    outcome(dotk.linear_attention, q, k, v)
    outcome(dotk.attention_merge, q, k, v, q)
    outcome(dotk.dense, q, k, v)
    outcome(dotk.rotary, q)
    outcome(dotk.multihead, q, k, v, {"in_proj_weight": q, "out_proj.weight": k}, 1)


@given(st.data())
def test_arrays_that_fit(data):
    """Shapes that go together, with whatever types, steps and values."""
    B, G, group, L, S, D, E = (data.draw(st.integers(1, n)) for n in (2, 2, 2, 4, 5, 4, 4))

    def array(*shape):
        found = data.draw(arrays(axes=(4, 4), dims=(1, 6)))
        return np.resize(found, shape).astype(found.dtype) if found.dtype.kind in "fiu" else found

    q, k, v = array(B, G * group, L, D), array(B, G, S, D), array(B, G, S, E)
    causal = data.draw(st.booleans())
    out = outcome(dotk.attention, q, k, v, causal=causal)
    if out is None or any(x.dtype.kind not in "fiu" for x in (q, k, v)):
        return
    wide = [np.asarray(x).astype(np.float32) for x in (q, k, v)]
    if all(np.isfinite(x).all() and np.abs(x).max() < 1e2 for x in wide):
        right, _, _, scores = exact(*wide, {"causal": causal})
        if np.abs(scores[np.isfinite(scores)]).max(initial=0) < 20:
            near = 1e-4 if out.dtype == np.float32 else 2e-2
            np.testing.assert_allclose(out, right, atol=near * max(1, np.abs(wide[2]).max()))
