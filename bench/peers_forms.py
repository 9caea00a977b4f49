"""peers_forms.py: the cases of bench/peers.py; FORMS names what makes each form's.

Attention and dense layers work on tensors that dotk and PyTorch share.
"""
import sys

import torch
from torch.nn.functional import linear, scaled_dot_product_attention as sdpa

import dotk
import peers_search
from attention_forms import GRADIENT_ROUNDING, HEADS, ROUNDING, far, tensors

WIDTH = 64
LENGTHS, QUICK_LENGTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096), (32, 512)
BACKWARD = 1024
SHAPES = ((1, 3072, 768), (16, 3072, 768), (128, 3072, 768), (1024, 1024, 1024))


def agree(what, ours, theirs, rounding=ROUNDING):
    apart = far(ours, theirs)
    if not apart <= rounding:
        sys.exit(f"peers.py: {what}: answers are {apart:.2g} apart")
    return apart


def of_attention(bench, form, length, causal, contenders, products):
    """Pairs that are not masked count, 2 a dimension for each product."""
    pairs = HEADS * (length * (length + 1) // 2 if causal else length * length)
    what = f"H{HEADS} L{length} D{WIDTH}" + (" causal" if causal else "")
    return bench.case(form, what, contenders, length=length, causal=causal,
                      flop=2 * WIDTH * products * pairs)


def attention(bench):
    for length in QUICK_LENGTHS if bench.quick else LENGTHS:
        for causal in (False, True):
            q, k, v = tensors(length, WIDTH)
            result = of_attention(bench, "attention", length, causal, {
                "dotk": lambda: dotk.attention(q, k, v, causal=causal, context=bench.ours),
                "torch": lambda: sdpa(q, k, v, is_causal=causal)}, 2)
            yield {**result, "apart": agree(result["what"], *bench.answers.values())}


def backward(bench):
    """Gradients alone: five products where forward has two."""
    for causal in (False, True):
        q, k, v = (x.requires_grad_() for x in tensors(BACKWARD, WIDTH))
        theirs, d_out = sdpa(q, k, v, is_causal=causal), tensors(BACKWARD, WIDTH)[0].flip(2)
        bare = [x.detach() for x in (q, k, v)]
        out, lse = dotk.attention(*bare, causal=causal, lse=True, context=bench.ours)
        result = of_attention(bench, "backward", BACKWARD, causal, {
            "dotk": lambda: dotk.attention_backward(*bare, out, lse, d_out, causal=causal,
                                                    context=bench.ours),
            "torch": lambda: torch.autograd.grad(theirs, (q, k, v), d_out, retain_graph=True)}, 5)
        ours, theirs = bench.answers.values()
        yield {**result, "apart": max(agree(result["what"], *both, GRADIENT_ROUNDING)
                                      for both in zip(ours.values(), theirs))}


def dense(bench):
    for rows, outputs, inputs in SHAPES:
        generator = torch.Generator().manual_seed(1)
        x, w, b = (torch.randn(*shape, generator=generator)
                   for shape in ((rows, inputs), (outputs, inputs), (outputs,)))
        arrays, prepared = [tensor.numpy() for tensor in (x, w, b)], dotk.Dense(w, b)
        what = f"{rows:,} × {outputs:,} × {inputs:,}"
        result = bench.case("dense", what, {
            "dotk": lambda: dotk.dense(x, w, b, context=bench.ours),
            "dotk prepared": lambda: prepared(x, context=bench.ours),
            "torch": lambda: linear(x, w, b),
            "numpy": lambda: arrays[0] @ arrays[1].T + arrays[2]},
            rows=rows, outputs=outputs, inputs=inputs, flop=2 * rows * outputs * inputs)
        ours, *others = bench.answers.values()
        yield {**result, "apart": max(agree(what, ours, torch.as_tensor(other)) for other in others)}


FORMS = {"search": peers_search.search, "filter": peers_search.filtered, "int8": peers_search.int8,
         "attention": attention, "backward": backward, "dense": dense}
