"""dotk.compat.torch beside torch: values, gradients, types, shapes, dropout, what is refused."""

import itertools
import math
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")

import dotk  # noqa: E402
from dotk.compat.torch import MultiheadAttention, scaled_dot_product_attention  # noqa: E402

theirs = torch.nn.functional.scaled_dot_product_attention
SEED = 20261122


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors are not spread, which takes far longer than what there is to do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Shapes of query, key and value, and enable_gqa.
SHAPES = {
    "2 axes": ((5, 8), (7, 8), (7, 6), False),
    "3 axes": ((3, 5, 8), (3, 7, 8), (3, 7, 6), False),
    "4 axes": ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8), False),
    "5 axes": ((2, 2, 3, 5, 8), (2, 2, 3, 7, 8), (2, 2, 3, 7, 4), False),
    "one head of keys": ((2, 4, 5, 8), (2, 1, 7, 8), (2, 1, 7, 8), False),
    "broadcast": ((2, 1, 5, 8), (1, 3, 7, 8), (2, 3, 7, 8), False),
    "broadcast batch": ((3, 4, 9, 8), (4, 7, 8), (1, 4, 7, 8), False),
    "gqa": ((2, 6, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), True),
    "gqa, other values": ((2, 6, 5, 8), (2, 3, 7, 8), (2, 2, 7, 8), True),
    "long": ((1, 2, 70, 16), (1, 2, 300, 16), (1, 2, 300, 16), False),
    "one query": ((2, 2, 1, 64), (2, 2, 90, 64), (2, 2, 90, 64), False),
    "square": ((2, 2, 16, 8), (2, 2, 16, 8), (2, 2, 16, 8), False),
}


def mask_of(kind, scores):
    """attn_mask of a kind for scores of a shape."""
    L, S = scores[-2:]
    if kind == "bool (L, S)":
        return torch.rand(L, S) < 0.6
    if kind == "bool full":
        return torch.rand(scores) < 0.6
    if kind == "bool (1, S)":
        return torch.rand(1, S) < 0.6
    if kind == "bool hides rows":
        return (torch.rand(L, 1) < 0.6).expand(L, S)
    if kind == "bias (L, S)":
        return torch.randn(L, S)
    if kind == "bias full":
        return torch.randn(scores)
    if kind == "bias (L, 1)":
        return torch.randn(L, 1)
    if kind == "bias excludes":
        return torch.randn(L, S).masked_fill(torch.rand(L, S) < 0.4, -math.inf)
    return None


MASKS = ["none", "causal", "bool (L, S)", "bool full", "bool (1, S)", "bool hides rows"]
MASKS += ["bias (L, S)", "bias full", "bias (L, 1)", "bias excludes"]
TYPES = {torch.float32: (1e-5, 2e-5), torch.bfloat16: (2e-2, 8e-2), torch.float16: (3e-3, 1e-2)}


def laid(tensor, kind):
    """The same numbers, lying otherwise."""
    if kind == "swapped" and tensor.dim() > 2:
        return tensor.transpose(-2, -3).contiguous().transpose(-2, -3)
    if kind == "columns":
        return tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    return tensor


def compare(shapes, mask, scale, dtype, lay):
    *shapes, gqa = shapes
    q, k, v = (torch.randn(s).to(dtype) for s in shapes)
    heads = max((s[-3] for s in shapes if len(s) > 2), default=None)
    batch = torch.broadcast_shapes(*(s[:-3] for s in shapes))
    front = tuple(batch) + (() if heads is None else (heads,))
    attn_mask = mask_of(mask, (*front, shapes[0][-2], shapes[1][-2]))
    options = {"is_causal": mask == "causal", "scale": scale, "enable_gqa": gqa}
    learns = attn_mask is not None and attn_mask.dtype != torch.bool

    def run(function, inputs, attn_mask):
        leaves = [x.clone().requires_grad_() for x in inputs]
        given = [laid(x, lay) for x in leaves]
        if learns:
            attn_mask = attn_mask.clone().requires_grad_()
            leaves.append(attn_mask)
        return function(*given, attn_mask=attn_mask, **options), leaves

    wide, wide_leaves = run(theirs, [x.float() for x in (q, k, v)], attn_mask)
    out, leaves = run(scaled_dot_product_attention, (q, k, v), attn_mask)
    near, near_gradient = TYPES[dtype]
    assert out.dtype == dtype and out.shape == wide.shape
    assert (out.float() - wide).abs().max() <= near * max(1, v.abs().max())
    with torch.no_grad():
        assert (run(scaled_dot_product_attention, (q, k, v), attn_mask)[0] == out).all()
    d_out = torch.randn(out.shape).to(dtype)
    right = torch.autograd.grad(wide, wide_leaves, d_out.float())
    for found, expected in zip(torch.autograd.grad(out, leaves, d_out), right):
        assert found.shape == expected.shape
        assert (found.float() - expected).abs().max() <= near_gradient * max(
            1, expected.abs().max()
        )


def test_grid(capsys):
    torch.manual_seed(SEED)
    grid = list(itertools.product(SHAPES, MASKS, (None, 0.3), TYPES))
    layouts = ("dense", "swapped", "columns")
    for i, (shape, mask, scale, dtype) in enumerate(grid):
        lay = layouts[i % 3]
        try:
            compare(SHAPES[shape], mask, scale, dtype, lay)
        except Exception as error:
            raise AssertionError(f"{shape}, {mask}, {scale}, {dtype}, {lay}") from error
    with capsys.disabled():
        print(f"\nseed {SEED}: {len(grid)} combinations agree with torch {torch.__version__}")
    assert len(grid) >= 500


def test_causal_and_mask():
    torch.manual_seed(SEED)
    q, k, v = torch.randn(3, 2, 2, 9, 8)
    mask = torch.rand(9, 9) < 0.7
    out = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=True)
    both = theirs(q, k, v, attn_mask=mask & torch.ones(9, 9).bool().tril())
    torch.testing.assert_close(out, both)


@pytest.mark.parametrize("l, s", [(0, 5), (4, 0)])
def test_nothing(l, s):
    q, k, v = torch.randn(2, 2, l, 8), torch.randn(2, 2, s, 8), torch.randn(2, 2, s, 8)
    out = scaled_dot_product_attention(q, k, v)
    assert out.shape == (2, 2, l, 8) and (out == 0).all()


def test_dropout():
    """The generators differ: what is dropped is looked at, and the gradient is that of it."""
    L, S = 64, 128
    q, k = torch.zeros(2, 2, L, 8), torch.zeros(2, 2, S, 8)
    v = torch.eye(S).expand(2, 2, S, S)
    torch.manual_seed(SEED)
    weights = scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    kept = weights != 0
    assert abs(kept.float().mean() - 0.75) < 0.01
    torch.testing.assert_close(weights[kept] * S, torch.full_like(weights[kept], 1 / 0.75))
    torch.manual_seed(SEED)
    assert (scaled_dot_product_attention(q, k, v, dropout_p=0.25) == weights).all()
    assert (scaled_dot_product_attention(q, k, v, dropout_p=0.25) != weights).any()

    q, k, v = (torch.randn(1, 2, n, 8, requires_grad=True) for n in (L, S, S))
    torch.manual_seed(SEED)
    out = scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    torch.manual_seed(SEED)
    eyes = torch.eye(S).expand(1, 2, S, S)
    dropped = scaled_dot_product_attention(q, k, eyes, dropout_p=0.25).detach() == 0
    plain = torch.softmax(q @ k.mT / 8**0.5, -1)
    right = plain.masked_fill(dropped, 0) / 0.75 @ v
    torch.testing.assert_close(out, right, atol=1e-5, rtol=1e-5)
    d_out = torch.randn_like(out)
    found = torch.autograd.grad(out, (q, k, v), d_out)
    for one, expected in zip(found, torch.autograd.grad(right, (q, k, v), d_out)):
        torch.testing.assert_close(one, expected, atol=2e-5, rtol=1e-4)


def test_autocast():
    q, k, v = torch.randn(3, 2, 2, 9, 8)
    with torch.autocast("cpu"):
        out, right = scaled_dot_product_attention(q, k, v), theirs(q, k, v)
    assert out.dtype == right.dtype == torch.bfloat16
    torch.testing.assert_close(out, right, atol=2e-2, rtol=0)


@pytest.mark.parametrize("dtype", TYPES)
def test_nothing_is_copied(dtype, monkeypatch):
    """What reaches dotk.attention are the caller's own numbers, whichever axes are swapped."""
    seen = []
    real = dotk.attention

    def watch(*arrays, **options):
        seen.extend(x.data_ptr() for x in arrays)
        return real(*arrays, **options)

    monkeypatch.setattr(dotk, "attention", watch)
    q, k, v = (torch.randn(2, 9, 3, 8).to(dtype).transpose(1, 2) for _ in range(3))
    scaled_dot_product_attention(q, k, v)
    assert seen == [q.data_ptr(), k.data_ptr(), v.data_ptr()]


def test_rows_that_overlap():
    """The second head has the first one's keys but for one; the gradient is that of the base."""
    torch.manual_seed(SEED)
    q, v, base = torch.randn(1, 2, 4, 8), torch.randn(1, 2, 9, 5), torch.randn(1, 10, 8)
    base.requires_grad_()
    answers = []
    for function in (scaled_dot_product_attention, theirs):
        out = function(q, base.unfold(1, 9, 1).transpose(-1, -2), v)
        answers.append((out, *torch.autograd.grad(out.square().sum(), base)))
    torch.testing.assert_close(answers[0], answers[1], atol=2e-5, rtol=1e-4)


T = torch.ones


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda x: scaled_dot_product_attention(x.double(), x, x), NotImplementedError, "float64"),
        (lambda x: scaled_dot_product_attention(x.int(), x, x), RuntimeError, "query is of torch"),
        (lambda x: scaled_dot_product_attention(x, x.bfloat16(), x), RuntimeError, "key of torch"),
        (lambda x: scaled_dot_product_attention(x[0], x, x), RuntimeError, "query has 1 axes"),
        (lambda x: scaled_dot_product_attention(x, x, x, x.double()), RuntimeError, "attn_mask is"),
        (lambda x: scaled_dot_product_attention(x, x, x, T(3, 4)), RuntimeError, r"\(3, 4\)"),
        (lambda x: scaled_dot_product_attention(x, x, x, dropout_p=1.5), ValueError, "dropout is"),
        (
            lambda x: scaled_dot_product_attention(T(4, 3, 2), T(3, 3, 2), T(3, 3, 2)),
            RuntimeError,
            "broadcast",
        ),
        (
            lambda x: scaled_dot_product_attention(
                T(4, 3, 2), T(3, 3, 2), T(3, 3, 2), enable_gqa=True
            ),
            RuntimeError,
            "query has 4 heads, key 3 and value 3",
        ),
        (lambda x: scaled_dot_product_attention(x, x[:, :1], x), ValueError, "k has 1 values"),
        (lambda x: scaled_dot_product_attention(x, x, x, None, 0, False, 1), TypeError, "position"),
        (lambda x: MultiheadAttention(2, 1)(x, x, x, is_causal=True), RuntimeError, "attn_mask"),
        (
            lambda x: MultiheadAttention(2, 1, dtype=torch.float64)(*[x.double()] * 3),
            NotImplementedError,
            "float64",
        ),
        (lambda x: MultiheadAttention(2, 1)(x, x[None], x), AssertionError, "give all three 3"),
        (
            lambda x: MultiheadAttention(2, 1)(x, x, x, attn_mask=T(3, 3, requires_grad=True)),
            NotImplementedError,
            "requires a gradient",
        ),
    ],
)
def test_refused(call, error, says):
    with pytest.raises(error, match=says):
        call(torch.ones(3, 2))


def multihead_arguments(shape, mask, padding, batch_first):
    """query, key, value and masks for a module of width 8 with 2 heads."""
    N, L, S, widths = shape
    tensors = []
    for n, width in zip((L, S, S), widths):
        size = (n, width) if N is None else (N, n, width) if batch_first else (n, N, width)
        tensors.append(torch.randn(size, requires_grad=True))
    options = {}
    batch = 1 if N is None else N
    if mask == "causal":
        options = {"attn_mask": torch.ones(L, S).triu(1).bool(), "is_causal": True}
    elif mask != "none":
        size = (batch * 2, L, S) if mask.endswith("heads") else (L, S)
        options["attn_mask"] = torch.randn(size)
        if mask.startswith("bool"):
            options["attn_mask"] = options["attn_mask"] > 0.3
            options["attn_mask"][..., 0] = False
    if padding != "none":
        options["key_padding_mask"] = torch.randn((S,) if N is None else (N, S))
        if padding == "bool":
            options["key_padding_mask"] = options["key_padding_mask"] > 0.3
            options["key_padding_mask"][..., 0] = False
    return tensors, options


def compare_multihead(arguments, shape, mask, padding, weights):
    a = torch.nn.MultiheadAttention(8, 2, **arguments)
    b = MultiheadAttention(8, 2, **arguments)
    for parameter in a.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    b.load_state_dict(a.state_dict())
    tensors, options = multihead_arguments(shape, mask, padding, a.batch_first)
    options |= {"need_weights": weights != "none", "average_attn_weights": weights == "mean"}
    right, right_weights = a(*tensors, **options)
    out, found = b(*tensors, **options)
    torch.testing.assert_close(out, right, atol=2e-5, rtol=1e-5)
    assert (found is None) == (right_weights is None)
    if found is not None:
        torch.testing.assert_close(found, right_weights, atol=1e-5, rtol=1e-5)
    d_out = torch.randn_like(out)
    gradients = torch.autograd.grad(out, [*tensors, *b.parameters()], d_out)
    expected = torch.autograd.grad(right, [*tensors, *a.parameters()], d_out)
    for one, other in zip(gradients, expected):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        again, _ = b(*tensors, **options)
        assert (again == out).all()


@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_multihead(capsys):
    torch.manual_seed(SEED)
    chance = random.Random(SEED)
    flags = ("batch_first", "bias", "add_bias_kv", "add_zero_attn")
    masks = ("none", "bool", "float", "bool of heads", "float of heads", "causal")
    grid = itertools.product(
        itertools.product((False, True), repeat=4),
        (None, 3),
        (False, True),
        masks,
        ("none", "bool", "float"),
        ("none", "mean", "heads"),
    )
    compared = 0
    for values, N, wide, mask, padding, weights in grid:
        if chance.random() > 0.15:
            continue
        arguments = dict(zip(flags, values))
        if wide:
            arguments |= {"kdim": 6, "vdim": 10}
        if mask == "causal" and (arguments["add_bias_kv"] or arguments["add_zero_attn"]):
            continue  # torch's answer depends on need_weights: test_added_keys_are_never_hidden
        shape = (N, 5, 5 if mask == "causal" else 6, (8, 6, 10) if wide else (8, 8, 8))
        try:
            compare_multihead(arguments, shape, mask, padding, weights)
        except Exception as error:
            raise AssertionError(f"{arguments}, {shape}, {mask}, {padding}, {weights}") from error
        compared += 1
    with capsys.disabled():
        print(f"\nseed {SEED}: {compared} combinations agree with nn.MultiheadAttention")
    assert compared >= 300


def test_lazy_signs():
    x = torch.randn(2, 3, 1, dtype=torch.complex64).conj().imag
    assert x.is_neg()
    plain = x.resolve_neg()
    for mask in (None, torch.randn(3, 3, 1, dtype=torch.complex64).conj().imag[..., 0]):
        given = None if mask is None else mask.resolve_neg()
        right = scaled_dot_product_attention(plain, plain, plain, given)
        assert torch.equal(scaled_dot_product_attention(x, x, x, mask), right)
    module = MultiheadAttention(1, 1, batch_first=True)
    assert torch.equal(module(x, x, x)[0], module(plain, plain, plain)[0])


def test_added_keys_are_never_hidden():
    torch.manual_seed(SEED)
    a = torch.nn.MultiheadAttention(8, 2, add_bias_kv=True)
    b = MultiheadAttention(8, 2, add_bias_kv=True)
    b.load_state_dict(a.state_dict())
    x = torch.randn(5, 2, 8)
    options = {"attn_mask": torch.ones(5, 5).triu(1).bool(), "is_causal": True}
    right, _ = a(x, x, x, need_weights=True, **options)
    out, _ = b(x, x, x, need_weights=False, **options)
    torch.testing.assert_close(out, right, atol=1e-5, rtol=1e-5)


def test_multihead_autocast():
    torch.manual_seed(SEED)
    a, b = torch.nn.MultiheadAttention(8, 2), MultiheadAttention(8, 2)
    b.load_state_dict(a.state_dict())
    x, mask = torch.randn(5, 3, 8), torch.randn(5, 5)
    for type in (torch.float32, torch.bfloat16):  # as a layer before it may give them
        with torch.autocast("cpu"):
            right, right_weights = a(*[x.to(type)] * 3, attn_mask=mask.to(type))
            out, weights = b(*[x.to(type)] * 3, attn_mask=mask.to(type))
        assert (out.dtype, weights.dtype) == (right.dtype, right_weights.dtype)
        torch.testing.assert_close(out, right, atol=3e-2, rtol=0)
        torch.testing.assert_close(weights, right_weights, atol=2e-2, rtol=0)
        out.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in b.parameters())


def test_multihead_dropout():
    torch.manual_seed(SEED)
    module = MultiheadAttention(8, 2, dropout=0.25, batch_first=True)
    x = torch.randn(4, 60, 8, requires_grad=True)
    torch.manual_seed(SEED)
    out, weights = module(x, x, x, average_attn_weights=False)
    assert abs((weights == 0).float().mean() - 0.25) < 0.01
    module.eval()
    whole, plain = module(x, x, x, average_attn_weights=False)
    kept = weights != 0
    torch.testing.assert_close(weights[kept], plain[kept] / 0.75)

    v = x @ module.in_proj_weight[16:].T + module.in_proj_bias[16:]
    mixed = weights.detach() @ v.reshape(4, 60, 2, 4).transpose(1, 2)
    right = mixed.transpose(1, 2).reshape(4, 60, 8) @ module.out_proj.weight.T
    right = right + module.out_proj.bias
    torch.testing.assert_close(out, right, atol=1e-5, rtol=1e-5)
    d_out = torch.randn_like(out)
    by_v = module.out_proj.weight
    found = torch.autograd.grad(out, by_v, d_out)[0]
    torch.testing.assert_close(
        found, torch.autograd.grad(right, by_v, d_out)[0], atol=1e-4, rtol=1e-4
    )


def test_state_dict_goes_both_ways():
    for arguments in ({}, {"kdim": 3, "vdim": 5}, {"bias": False}, {"add_bias_kv": True}):
        a = torch.nn.MultiheadAttention(8, 2, **arguments)
        b = MultiheadAttention(8, 2, **arguments)
        assert list(a.state_dict()) == list(b.state_dict())
        b.load_state_dict(a.state_dict())
        a.load_state_dict(b.state_dict())


def test_tensors_through_the_plain_function():
    """bf16 has no format of the buffer protocol: it comes and goes by DLPack."""
    q, k, v = (torch.randn(2, 3, 6, 8).bfloat16() for _ in range(3))
    out = torch.empty(2, 6, 3, 8, dtype=torch.bfloat16).transpose(1, 2)
    place = out.data_ptr()
    found, lse = dotk.attention(q, k, v, out=out, lse=True)
    assert found is out and out.data_ptr() == place and isinstance(lse, torch.Tensor)
    torch.testing.assert_close(out.float(), theirs(q, k, v).float(), atol=2e-2, rtol=0)
    plain = dotk.attention(*(x.float().numpy() for x in (q, k, v)))
    assert isinstance(plain, np.ndarray)
    np.testing.assert_allclose(plain, out.float(), atol=2e-2)
    gradients = dotk.attention_backward(q, k, v, out, lse, out.clone())
    assert all(isinstance(x, torch.Tensor) and x.dtype == q.dtype for x in gradients.values())
