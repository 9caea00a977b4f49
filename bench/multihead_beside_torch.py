#!/usr/bin/env python3
"""multihead_beside_torch.py LIBRARY: the multi-head module against nn.MultiheadAttention.

LIBRARY is libdotk.so; `make bench-attention` brings PyTorch. Modules with every option that both have
get the same state dict and the same inputs: outputs, weights and all gradients must agree, within the
rounding of f32, with those of PyTorch in double precision, or the run ends with 1. Then forward and backward are timed in turns, on one thread each. (Two
things differ by design: where everything is hidden PyTorch gives NaN and dotk zeros, and added keys are
visible under a causal mask in both only where PyTorch gets that mask as an array, as it does here.)
"""
import copy
import ctypes
import itertools
import random
import statistics
import sys
import time

import torch

from library import Library, options, structure

Shape, Parameters = structure("dotk_multihead_shape"), structure("dotk_multihead_parameters")
Options, Gradients = structure("dotk_multihead_options"), structure("dotk_multihead_gradients")
TOLERANCE = 2e-5    # of the largest value
CASES = 300
ROUNDS = 7


def address(tensor):
    return None if tensor is None else ctypes.c_void_p(tensor.data_ptr())


def field(name):
    """A state dict's name as the structures have it."""
    return name.replace("out_proj.", "out_proj_")


class Module:
    """dotk's side of a torch module: 'chosen' holds options, masks as tensors."""

    def __init__(self, library, module, query, key, value, **chosen):
        self.library, self.module, self.inputs = library, module, (query, key, value)
        first = module.batch_first
        batch, queries = query.shape[:2] if first else query.shape[1::-1]
        self.shape = Shape(batch, queries, key.shape[1 if first else 0], module.embed_dim,
                           module.num_heads, module.kdim, module.vdim)
        self.state = {name: value.detach() for name, value in module.state_dict().items()}
        self.parameters = options(Parameters, **{field(name): value.data_ptr()
                                                 for name, value in self.state.items()})
        self.kept = chosen
        chosen = {name: value.data_ptr() if torch.is_tensor(value) else value
                  for name, value in chosen.items()}
        self.options = options(Options, batch_first=int(first),
                               add_zero_attn=int(module.add_zero_attn), **chosen)
        self.added = (module.bias_k is not None) + module.add_zero_attn
        self.out = torch.empty_like(query)
        floats = ctypes.c_size_t()
        library.call("dotk_multihead_saved_count", *map(ctypes.byref, (
            self.shape, self.parameters, self.options, floats)))
        self.saved = torch.empty(floats.value)

    def given(self, *more):
        return (None, ctypes.byref(self.shape), ctypes.byref(self.parameters),
                *map(address, self.inputs), ctypes.byref(self.options), *map(address, more))

    def forward(self, weights=None):
        self.library.call("dotk_multihead_forward", *self.given(self.out, weights, self.saved))

    def backward(self, d_out):
        """{name: gradient}, of inputs too."""
        arrays = {name: torch.empty_like(value) for name, value in
                  (*self.state.items(), *zip(("query", "key", "value"), self.inputs))}
        wanted = options(Gradients, **{field(name): value.data_ptr()
                                       for name, value in arrays.items()})
        self.library.call("dotk_multihead_backward", *self.given(self.saved, d_out),
                          ctypes.byref(wanted))
        return arrays


def compare(what, found, expected):
    difference = (found - expected).abs().max().item() if found.numel() else 0
    if not difference <= TOLERANCE * max(1, expected.abs().max().item()):
        sys.exit(f"multihead_beside_torch.py: {what}: {difference:g} apart")


def masks(draw, module, batch, queries, keys):
    """What torch gets, and the same as dotk's options. The first key is never hidden."""
    theirs, ours = {}, {}
    kind = draw.choice(("none", "bool", "float"))
    if kind != "none":
        hidden = torch.rand(batch, keys) < 0.3
        hidden[:, 0] = False
        bias = torch.randn(batch, keys)
        theirs["key_padding_mask"] = hidden if kind == "bool" else bias
        ours.update({"key_padding_mask": hidden} if kind == "bool" else {"key_padding_bias": bias})
    kind = draw.choice(("none", "bool", "float", "causal"))
    heads = batch * module.num_heads if draw.random() < 0.5 else 0
    size = (heads, queries, keys) if heads else (queries, keys)
    hidden = torch.rand(size) < 0.3
    hidden[..., 0] = False
    if kind == "causal":
        theirs["attn_mask"] = torch.ones(queries, keys, dtype=torch.bool).triu(1)
        ours["causal"] = 1
    elif kind != "none":
        theirs["attn_mask"] = hidden if kind == "bool" else torch.randn(size).masked_fill(
            hidden, -torch.inf)
        ours["attn_mask" if kind == "bool" else "attn_bias"] = theirs["attn_mask"]
        ours["mask_per_head"] = int(heads > 0)
    dtypes = {mask.dtype for mask in theirs.values()}
    if len(dtypes) > 1:    # PyTorch wants them to be of one kind
        theirs = {name: torch.zeros(mask.shape).masked_fill(mask, -torch.inf)
                  if mask.dtype == torch.bool else mask for name, mask in theirs.items()}
    return theirs, ours


def check(library, draw):
    heads = draw.choice((1, 2, 3))
    width, batch = heads * draw.choice((1, 4, 16)), draw.choice((1, 2, 5))
    queries, keys = draw.choice((1, 7, 70)), draw.choice((1, 9, 80))
    module = torch.nn.MultiheadAttention(
        width, heads, bias=draw.random() < 0.7, add_bias_kv=draw.random() < 0.5,
        add_zero_attn=draw.random() < 0.5, batch_first=draw.random() < 0.5,
        **({"kdim": 5, "vdim": 11} if draw.random() < 0.4 else {}))
    for parameter in module.parameters():    # PyTorch begins with biases of 0
        torch.nn.init.normal_(parameter, std=width ** -0.5)

    def rows(count, wide):
        size = (batch, count, wide) if module.batch_first else (count, batch, wide)
        return torch.randn(size)

    given = rows(queries, width), rows(keys, module.kdim), rows(keys, module.vdim)
    theirs, ours = masks(draw, module, batch, queries, keys)
    average = draw.random() < 0.5
    exact = copy.deepcopy(module).double()
    inputs = [tensor.double().requires_grad_() for tensor in given]
    theirs = {name: mask.double() if mask.is_floating_point() else mask
              for name, mask in theirs.items()}
    out, weights = exact(*inputs, average_attn_weights=average, **theirs)
    d_out = torch.randn(out.shape)
    (out * d_out).sum().backward()
    mine = Module(library, module, *given, weights_per_head=int(not average), **ours)
    found = torch.empty(weights.shape)
    mine.forward(found)
    what = f"{module}, {batch} x {queries} x {keys}, {sorted(ours)}: "
    compare(what + "out", mine.out, out.detach())
    compare(what + "weights", found, weights.detach())
    gradients = mine.backward(d_out)
    for name, parameter in itertools.chain(exact.named_parameters(),
                                           zip(("query", "key", "value"), inputs)):
        compare(what + name, gradients[name], parameter.grad)


def timed(runs):
    """Median seconds of each, in turns."""
    spent = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, times in zip(runs, spent):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in spent]


def race(library, batch, length, width, heads):
    module = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    x = torch.randn(batch, length, width)
    mine, d_out = Module(library, module, x, x, x), torch.randn(x.shape)

    def theirs_backward():
        y = x.detach().requires_grad_()
        (module(y, y, y, need_weights=False)[0] * d_out).sum().backward()

    def mine_backward():
        mine.forward()
        mine.backward(d_out)

    def theirs_forward():
        with torch.no_grad():
            module.train()    # not the fused path, which has no gradients
            module(x, x, x, need_weights=False)
    forward = timed((mine.forward, theirs_forward))
    both = timed((mine_backward, theirs_backward))
    for name, (dotk, torchs) in (("forward", forward), ("forward and backward", both)):
        print(f"{batch} x {length}, width {width}, {heads} heads, {name}: dotk {dotk * 1e3:.2f} ms, "
              f"PyTorch {torchs * 1e3:.2f} ms, {torchs / dotk:.2f} times as fast")


def main():
    library, draw = Library(sys.argv[1]), random.Random(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    for _ in range(CASES):
        check(library, draw)
    print(f"{CASES} modules agree: outputs, weights and gradients within {TOLERANCE:g}")
    for sizes in ((1, 512, 768, 12), (16, 128, 384, 12), (1, 2048, 512, 8)):
        race(library, *sizes)


if __name__ == "__main__":
    main()
