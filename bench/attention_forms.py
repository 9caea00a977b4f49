"""attention_forms.py: the cases of bench/beside_torch.py; FORMS names what makes each form's.

All arrays are torch's, and dotk gets their addresses, so that both work on the same memory.
"""
import ctypes
import pathlib
import sys

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from library import (AddOptions, AttentionBlocks, AttentionOptions, AttentionShape, AttentionStats,
                     CacheOptions, Gradients, Layout, constant, options)

HEADS = 12
NAMES = {torch.float32: "f32", torch.bfloat16: "bf16"}
STORES = {dtype: constant("DOTK_STORE_" + name.upper()) for dtype, name in NAMES.items()}
DECODED = (32, 8, 32768, 128)    # query heads, key heads, keys, width
LONG, WINDOW, DENSITY, BLOCK = 16384, 256, 0.10, 64
ROUNDING = 1e-5                  # of the largest value: how far two f32 answers may be apart
GRADIENT_ROUNDING = 1e-4         # gradients are sums over all queries or keys


def tensors(length, width, heads=HEADS, batch=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, heads, length, width, generator=generator).to(dtype)
            for _ in range(3)]


class Call:
    """dotk_attention_forward on tensors (B, H, L, D); 'chosen' holds more options."""

    function = "dotk_attention_forward"

    def __init__(self, bench, q, k, v, context=None, **chosen):
        self.library, self.kept = bench.library, (q, k, v, chosen)
        self.shape = AttentionShape(*q.shape[:3], k.shape[2], q.shape[3], v.shape[3], k.shape[1])
        self.out = torch.zeros(*q.shape[:3], v.shape[3], dtype=q.dtype)
        self.lse = torch.zeros(q.shape[:3])
        if "mask" in chosen:
            mask = chosen["mask"].expand(*q.shape[:3], k.shape[2])
            chosen["mask_layout"] = Layout(*mask.stride()[:3])
            chosen["mask"] = mask.data_ptr()
        self.options = options(AttentionOptions, store=STORES[q.dtype], **chosen)
        self.context = context or bench.context
        self.call = getattr(self.library.library, self.function)
        self.arguments = self.passed(q, k, v)

    def passed(self, q, k, v):
        return (self.context, ctypes.byref(self.shape), *map(address, (q, k, v)),
                ctypes.byref(self.options), address(self.out), address(self.lse))

    def __call__(self):
        if self.call(*self.arguments) != 0:
            sys.exit(f"{self.function}: {self.library.library.dotk_last_message().decode()}")

    def flop(self):
        """What the answer takes: 4 a dimension and pair that is not masked."""
        stats = AttentionStats()
        self.options.stats = ctypes.addressof(stats)
        self()
        self.options.stats = None
        return 4 * self.shape.width * stats.pairs


class Cached(Call):
    """The same by dotk_cache_forward, keys and values (1, G, S, D) having been added to a cache."""

    function = "dotk_cache_forward"

    def passed(self, q, k, v):
        self.cache, self.sequence = ctypes.c_void_p(), ctypes.c_void_p()
        heads, keys, width = k.shape[1:]
        store = STORES[q.dtype]
        self.library.call("dotk_cache_create", ctypes.c_size_t(heads), ctypes.c_size_t(width),
                          ctypes.byref(options(CacheOptions, store=store)), ctypes.byref(self.cache))
        self.library.call("dotk_sequence_create", self.cache, ctypes.byref(self.sequence))
        self.library.call("dotk_sequence_add", self.context, self.sequence, ctypes.c_size_t(keys),
                          address(k), address(v), ctypes.byref(options(AddOptions, store=store)))
        return (self.context, ctypes.c_size_t(1), ctypes.byref(self.sequence), None,
                ctypes.c_size_t(q.shape[1]), address(q), ctypes.byref(self.options),
                address(self.out), address(self.lse))

    def close(self):
        self.library.library.dotk_sequence_destroy(self.sequence)
        self.library.library.dotk_cache_destroy(self.cache)


class Backward(Call):
    """dotk_attention_backward, of the output and log-sum-exp of a forward call."""

    function = "dotk_attention_backward"

    def passed(self, q, k, v):
        forward = super().passed(q, k, v)
        self.library.call(Call.function, *forward)
        self.gradients = [torch.empty_like(x) for x in (q, k, v)]
        self.d_out = torch.randn(self.out.shape, generator=torch.Generator().manual_seed(4)).to(
            q.dtype)
        self.written = options(Gradients, **{name: x.data_ptr() for name, x in
                                             zip("qkv", self.gradients)})
        return (*forward, address(self.d_out), ctypes.byref(self.written))


def address(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


def far(ours, theirs):
    """How far two arrays are apart at most, in terms of the largest value."""
    return float(f"{((ours - theirs).abs().max() / theirs.abs().max()).item():.2g}")


def check(what, ours, theirs):
    """Ends the run unless two answers in f32 are within rounding; returns how far they are apart."""
    apart = far(ours, theirs)
    if not apart <= ROUNDING:
        sys.exit(f"beside_torch.py: {what}: dotk and torch are {apart:.2g} apart")
    return apart


def check_rounded(what, ours, theirs, q, k, v, **chosen):
    """bf16: ours may be at most twice as far from the f32 answer as theirs."""
    exact = sdpa(q.float(), k.float(), v.float(), **chosen)
    off = [((answer.float() - exact).abs().max() / v.float().abs().max()).item()
           for answer in (ours, theirs)]
    if not off[0] <= 2 * off[1]:
        sys.exit(f"beside_torch.py: {what}: dotk is {off[0]:.2g} off, torch {off[1]:.2g}")
    return [float(f"{one:.2g}") for one in off]


def named(q, k=None):
    batch, heads, queries, width = q.shape
    keys = "" if k is None or k.shape[2] == queries else f" S{k.shape[2]}"
    return f"B{batch} H{heads} L{queries}{keys} D{width}"


def beside(bench, form, label, q, k, v, ours, **chosen):
    """A forward case; 'chosen' are the options of theirs."""
    what = named(q) + (f" {label}" if label else "")
    ours()
    theirs = sdpa(q, k, v, **chosen)
    apart = check(what, ours.out, theirs) if q.dtype == torch.float32 else \
        check_rounded(what, ours.out, theirs, q, k, v, **chosen)
    return bench.case(form, what, {"dotk": ours, "torch": lambda: sdpa(q, k, v, **chosen)},
                      NAMES[q.dtype], flop=ours.flop(), apart=apart)


def forward(bench):
    sizes = [(512, 64)] if bench.quick else \
        [(512, 64), (1024, 64), (2048, 64), (4096, 64), (1024, 128), (2048, 128)]
    for length, width in sizes:
        q, k, v = tensors(length, width)
        yield beside(bench, "forward", "", q, k, v, Call(bench, q, k, v))
        yield beside(bench, "causal", "causal", q, k, v, Call(bench, q, k, v, causal=1),
                     is_causal=True)


def short(bench):
    for length in (32, 64, 128):
        q, k, v = tensors(length, 64)
        yield beside(bench, "short", "", q, k, v, Call(bench, q, k, v))


def masks(length):
    """Label and boolean mask, true where a key counts."""
    place = torch.arange(length)
    generator = torch.Generator().manual_seed(2)
    yield "random 50 %", torch.rand(1, 1, length, length, generator=generator) < 0.5
    document = place * 8 // length
    yield "8 documents", (document[:, None] == document)[None, None]
    yield "causal", (place[:, None] >= place)[None, None]
    yield "a third padded", (place < length * 2 // 3)[None, None, None].repeat(4, 1, 1, 1)


def mask(bench):
    for length in (512,) if bench.quick else (512, 2048):
        for label, counts in masks(length):
            q, k, v = tensors(length, 64, batch=counts.shape[0])
            yield beside(bench, "mask", label, q, k, v, Call(bench, q, k, v, mask=counts),
                         attn_mask=counts)


def bf16(bench):
    sizes = [(512, 64)] if bench.quick else \
        [(512, 64), (1024, 64), (2048, 64), (4096, 64), (2048, 128)]
    for length, width in sizes:
        q, k, v = tensors(length, width, dtype=torch.bfloat16)
        yield beside(bench, "bf16", "", q, k, v, Call(bench, q, k, v))
    yield beside(bench, "bf16", "causal", q, k, v, Call(bench, q, k, v, causal=1), is_causal=True)


def backward(bench):
    """Gradients alone: five products where forward has two."""
    cases = [(512, 64, 0)] if bench.quick else \
        [(512, 64, 0), (1024, 64, 0), (2048, 64, 0), (2048, 64, 1), (2048, 128, 0)]
    for dtype, store in NAMES.items():
        for length, width, causal in cases if store == "f32" else cases[-1:]:
            q, k, v = tensors(length, width, dtype=dtype)
            flop = Call(bench, q, k, v, causal=causal).flop() * 5 // 2
            ours = Backward(bench, q, k, v, causal=causal)
            inputs = [x.requires_grad_() for x in (q, k, v)]
            out = sdpa(*inputs, is_causal=bool(causal))

            def theirs():
                return torch.autograd.grad(out, inputs, ours.d_out, retain_graph=True)
            what = named(q) + (" causal" if causal else "") + f" {store}"
            ours()
            apart = [far(mine, other) for mine, other in zip(ours.gradients, theirs())]
            if store == "bf16":
                apart = gradients_off(ours, inputs, theirs(), bool(causal))
            if not max(apart) <= (GRADIENT_ROUNDING if store == "f32" else 2):
                sys.exit(f"beside_torch.py: backward, {what}: gradients are {max(apart):.2g} apart")
            yield bench.case("backward", what, {"dotk": ours, "torch": theirs}, store, flop=flop,
                             apart=max(apart))


def gradients_off(ours, inputs, theirs, causal):
    """bf16: how far our gradients are from those in f32, in terms of how far theirs are."""
    wide = [x.detach().float().requires_grad_() for x in inputs]
    exact = torch.autograd.grad(sdpa(*wide, is_causal=causal), wide, ours.d_out.float())
    return [far(mine.float(), e) / far(other.float(), e)
            for mine, other, e in zip(ours.gradients, theirs, exact)]


def decode(bench):
    heads, key_heads, keys, width = DECODED
    if bench.quick:
        keys //= 8
    for dtype, name in NAMES.items():
        q = tensors(1, width, heads, dtype=dtype)[0]
        _, k, v = tensors(keys, width, key_heads, dtype=dtype)
        repeated = [x.repeat_interleave(heads // key_heads, 1) for x in (k, v)]
        rows = q.reshape(1, key_heads, heads // key_heads, width)
        theirs = {"torch, enable_gqa": lambda: sdpa(q, k, v, enable_gqa=True),
                  "torch, heads repeated ahead": lambda: sdpa(q, *repeated),
                  "torch, grouped heads as rows": lambda: sdpa(rows, k, v)}
        ours, what = Call(bench, q, k, v), f"{named(q, k)} G{key_heads} {name}"
        cached = Cached(bench, q, k, v)
        ours()
        cached()
        if not torch.equal(ours.out, cached.out):
            sys.exit(f"beside_torch.py: {what}: the cache and plain arrays have different bits")
        answers = [run().reshape(q.shape) for run in theirs.values()]
        apart = [check(what, ours.out, answer) for answer in answers] if name == "f32" else \
            check_rounded(what, ours.out, answers[0], q, *repeated)
        read = 2 * k.numel() * k.element_size()
        yield bench.case("decode", what, {"dotk": cached, "dotk, plain arrays": ours, **theirs}, name,
                         read, flop=ours.flop(), bytes=read, apart=apart)
        cached.close()


def sparse(bench):
    """Beside our own full attention: torch has no window and no blocks but as a mask of L x S."""
    length = 2048 if bench.quick else LONG
    q, k, v = tensors(length, 64, heads=2)
    places = -(-length // BLOCK)
    generator = torch.Generator().manual_seed(3)
    chosen = torch.rand(places, places, generator=generator) < DENSITY
    columns = chosen.nonzero()[:, 1].contiguous()
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), chosen.sum(1).cumsum(0)])
    blocks = AttentionBlocks(BLOCK, BLOCK, starts.data_ptr(), columns.data_ptr(), 0)
    half = WINDOW // 2
    calls = {"full": Call(bench, q, k, v),
             "window": Call(bench, q, k, v, has_window=1, window_left=half, window_right=half - 1),
             "causal window": Call(bench, q, k, v, has_window=1, window_left=WINDOW - 1,
                                   window_right=0),
             "blocks": Call(bench, q, k, v, blocks=ctypes.addressof(blocks))}
    for name, call in calls.items():
        call()
        check_window(name, q, k, v, call.out, chosen)
    yield bench.case("sparse", named(q), calls, window=WINDOW,
                     density=round(chosen.float().mean().item(), 4),
                     flop={name: call.flop() for name, call in calls.items()})


def check_window(name, q, k, v, out, chosen):
    """Some rows of these answers, by torch with a mask."""
    length = q.shape[2]
    rows = torch.arange(7, length, length // 32)
    behind = rows[:, None] - torch.arange(length)
    half = WINDOW // 2
    counts = {"full": behind == behind, "window": (behind <= half) & (behind > -half),
              "causal window": (behind >= 0) & (behind < WINDOW),
              "blocks": chosen[rows // BLOCK].repeat_interleave(BLOCK, 1)[:, :length]}[name]
    check(name, out[:, :, rows], sdpa(q[:, :, rows], k, v, attn_mask=counts))


def peak_of(run):
    """Bytes that this process holds at most during a run, beyond what it held before."""
    status = pathlib.Path("/proc/self/status")

    def line(name):
        return int(status.read_text().split(name + ":")[1].split()[0]) * 1024
    ctypes.CDLL(None).malloc_trim(0)    # what lies about freed must not hide what is taken
    pathlib.Path("/proc/self/clear_refs").write_text("5")    # forgets the peak so far
    before = line("VmRSS")
    run()
    return line("VmHWM") - before


def dropout(bench):
    for length in (512,) if bench.quick else (512, 1024, 2048):
        q, k, v = tensors(length, 64)
        ours = Call(bench, q, k, v, bench.library.context(bench.threads), dropout=0.1, seed=1)
        runs = {"dotk": ours, "torch": lambda: sdpa(q, k, v, dropout_p=0.1)}
        peaks = {name: peak_of(run) for name, run in runs.items()}
        yield bench.case("dropout", named(q), runs, flop=ours.flop(), bytes=peaks)


FORMS = {form.__name__: form for form in (forward, short, mask, bf16, backward, decode,
                                                 sparse, dropout)}
