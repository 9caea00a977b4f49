"""torch's attention with dotk's library behind it.

>>> import torch
>>> from dotk.compat.torch import scaled_dot_product_attention
>>> x = torch.eye(2)
>>> scaled_dot_product_attention(x, x, x, is_causal=True)[0]
tensor([1., 0.])

Tensors are float32, bfloat16 or float16, on the CPU; results are of the same type. Gradients are
there, of a mask too, but none of gradients. A query that sees no key gets zeros.
"""

from __future__ import annotations

from typing import Any

import dotk
import torch  # type: ignore[import-not-found,unused-ignore]

__all__ = ["MultiheadAttention", "scaled_dot_product_attention"]

_TYPES = (torch.float32, torch.bfloat16, torch.float16)
_INSTEAD = "convert it with .float(), or call torch's own function"


def _check_type(name: str, tensor: torch.Tensor, types: tuple[torch.dtype, ...] = _TYPES) -> None:
    if tensor.dtype == torch.float64 or tensor.dtype.is_complex:
        raise NotImplementedError(f"{name} is of {tensor.dtype}, which dotk lacks: {_INSTEAD}")
    if tensor.dtype not in types:
        raise RuntimeError(f"{name} is of {tensor.dtype}: give {' or '.join(map(str, types))}")


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call,unused-ignore]


def _once(gradients: Any) -> Any:
    """The same, with gradients of them refused."""
    once: Any = torch.autograd.function.once_differentiable
    return once(gradients)


def _seed(dropout: float) -> int:
    """One from torch's generator, so that torch.manual_seed() decides what is dropped."""
    return int(torch.randint(2**63 - 1, ())) if dropout > 0 else 0


def _rows(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as dotk.attention takes it: copied only where rows overlap or have gaps inside."""
    tensor = tensor.resolve_neg()
    extent = tensor.shape[-1]
    if extent > 1 and tensor.stride(-1) != 1:
        return tensor.contiguous()
    for stride, n in sorted(zip(tensor.stride()[:-1], tensor.shape[:-1])):
        if n > 1 and stride < extent:
            return tensor.contiguous()
        if n > 1:
            extent += (n - 1) * stride
    return tensor


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as dotk takes all: dense, and its sign in its memory."""
    return tensor.resolve_neg().contiguous()


def _attention_gradients(ctx: Any, d_out: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    q, k, v, out, lse, bias = ctx.saved_tensors
    names = [name for name, n in zip(("q", "k", "v", "bias"), ctx.needs_input_grad) if n]
    options = ctx.options if bias is None else ctx.options | {"bias": bias.detach()}
    found = dotk.attention_backward(
        q.detach(),
        k.detach(),
        v.detach(),
        out.detach(),
        lse,
        _dense(d_out),
        gradients=names,
        **options,
    )
    return (*(found.get(name) for name in ("q", "k", "v", "bias")), None)


class _Attention(torch.autograd.Function):  # type: ignore[misc,unused-ignore]
    """dotk.attention and its gradients, of tensors of four axes."""

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        bias: torch.Tensor | None,
        options: dict[str, Any],
    ) -> torch.Tensor:
        if bias is not None:
            options = options | {"bias": bias.detach()}
        out: torch.Tensor
        out, lse = dotk.attention(q.detach(), k.detach(), v.detach(), lse=True, **options)
        ctx.save_for_backward(q, k, v, out, lse, bias)
        ctx.options = {name: value for name, value in options.items() if name != "bias"}
        return out

    backward: Any = staticmethod(_once(_attention_gradients))


def _spread(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, enable_gqa: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All three with four axes or more and the same ones in front; keys may have fewer heads."""
    tensors = [x.unsqueeze(0) if x.dim() < 3 else x for x in (query, key, value)]
    heads, k_heads, v_heads = (x.shape[-3] for x in tensors)
    if enable_gqa:
        if k_heads == 0 or v_heads == 0 or heads % k_heads != 0 or heads % v_heads != 0:
            raise RuntimeError(
                f"query has {heads} heads, key {k_heads} and value {v_heads}: with enable_gqa=True "
                "give query a multiple of the others"
            )
        if k_heads != v_heads:
            tensors[1] = tensors[1].repeat_interleave(heads // k_heads, -3)
            tensors[2] = tensors[2].repeat_interleave(heads // v_heads, -3)
    elif not (k_heads == v_heads and k_heads in (1, heads)):
        heads = _broadcast((heads,), (k_heads,), (v_heads,))[0]
        tensors = [x.expand(*x.shape[:-3], heads, *x.shape[-2:]) for x in tensors]
    batch = _broadcast(*(x.shape[:-3] for x in tensors))
    q, k, v = (x.expand(*batch, *x.shape[-3:]) for x in tensors)
    return q, k, v


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """Four axes: those in front become one."""
    batch = tensor.shape[:-3]
    return tensor.reshape(batch.numel(), *tensor.shape[-3:])


def _mask(attn_mask: torch.Tensor, scores: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """The mask with four axes and its keys in a row; other axes may have one place."""
    if attn_mask.dtype not in (torch.bool, torch.float32, dtype):
        raise RuntimeError(
            f"attn_mask is of {attn_mask.dtype}: give torch.bool, torch.float32 or query's {dtype}"
        )
    if attn_mask.dtype != torch.bool:
        attn_mask = attn_mask.float()
    shape = (1,) * (len(scores) - attn_mask.dim()) + tuple(attn_mask.shape)
    if len(shape) > len(scores) or any(n not in (1, m) for n, m in zip(shape, scores)):
        raise RuntimeError(
            f"attn_mask is {tuple(attn_mask.shape)}: give what broadcasts to {scores}, that of "
            "the scores"
        )
    mask = attn_mask.reshape(shape).expand(*shape[:-1], scores[-1])
    if any(n != 1 for n in shape[:-3]):
        mask = mask.expand(*scores[:-3], *mask.shape[-3:])
    return _rows(_flat(mask))


def scaled_dot_product_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """torch.nn.functional.scaled_dot_product_attention.

    query (..., Hq, L, E), key (..., H, S, E), value (..., H, S, Ev) give (..., Hq, L, Ev); axes in
    front broadcast. attn_mask broadcasts to (..., Hq, L, S): bool, True where a key counts, or
    numbers to add; with is_causal, key j also has to be at most query i. dropout_p is below 1.

    >>> import torch
    >>> q, k = torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4)
    >>> scaled_dot_product_attention(q, k, torch.ones(1, 2, 5, 7)).shape
    torch.Size([1, 2, 3, 7])
    """
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.dim() < 2:
            raise RuntimeError(f"{name} has {tensor.dim()} axes: give at least 2")
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(dtype)
    _check_type("query", query)
    if key.dtype != query.dtype or value.dtype != query.dtype:
        raise RuntimeError(
            f"query is of {query.dtype}, key of {key.dtype} and value of {value.dtype}: give one"
        )
    axes = max(query.dim(), key.dim(), value.dim())
    q, k, v = _spread(query, key, value, enable_gqa)
    front = tuple(q.shape[:-1])
    options: dict[str, Any] = {"causal": is_causal, "scale": scale, "dropout": dropout_p}
    options["seed"] = _seed(dropout_p)
    bias = None
    if attn_mask is not None:
        mask = _mask(attn_mask, (*front, k.shape[-2]), query.dtype)
        if mask.dtype == torch.bool:
            options["mask"] = mask
        else:
            bias = mask
    q, k, v = (_rows(_flat(x)) for x in (q, k, v))
    wants = (x is not None and x.requires_grad for x in (q, k, v, bias))
    out: torch.Tensor
    if torch.is_grad_enabled() and any(wants):
        out = _Attention.apply(  # type: ignore[no-untyped-call,unused-ignore]
            q, k, v, bias, options
        )
    else:
        if bias is not None:
            options["bias"] = bias.detach()
        out = dotk.attention(q.detach(), k.detach(), v.detach(), **options)
    out = out.reshape(*front, v.shape[-1])
    return out.squeeze(0) if axes == 2 else out


def _multihead_gradients(ctx: Any, d_out: torch.Tensor, _: Any) -> tuple[torch.Tensor | None, ...]:
    query, key, value, saved, *tensors = ctx.saved_tensors
    inputs = ("query", "key", "value")
    names = (*inputs, None, None, None, None, *ctx.names)
    found = dotk.multihead_backward(
        query.detach(),
        key.detach(),
        value.detach(),
        {name: x.detach() for name, x in zip(ctx.names, tensors)},
        ctx.heads,
        saved,
        _dense(d_out),
        gradients=[name for name, n in zip(names, ctx.needs_input_grad) if name and n],
        **ctx.options,
    )
    return tuple(found.get(name) for name in names)


class _Multihead(torch.autograd.Function):  # type: ignore[misc,unused-ignore]
    """dotk.multihead and its gradients; parameters come after their names."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        heads: int,
        weights: Any,
        options: dict[str, Any],
        names: tuple[str, ...],
        *tensors: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        out, found, saved = dotk.multihead(
            query.detach(),
            key.detach(),
            value.detach(),
            {name: x.detach() for name, x in zip(names, tensors)},
            heads,
            weights=weights,
            saved=True,
            **options,
        )
        ctx.save_for_backward(query, key, value, saved, *tensors)
        ctx.heads, ctx.options, ctx.names = heads, options, names
        if found is not None:
            ctx.mark_non_differentiable(found)
        return out, found

    backward: Any = staticmethod(_once(_multihead_gradients))


class MultiheadAttention(torch.nn.MultiheadAttention):  # type: ignore[misc,unused-ignore]
    """torch.nn.MultiheadAttention: the same parameters, so that a state dict of one fits the other.

    Inputs, parameters and masks are float32 or bool; under torch.autocast inputs and masks are made
    so, and what comes out is of autocast's type. Weights that are returned are constants to
    autograd. A query that sees no key gets the last bias, where torch gives NaN. The keys that
    add_bias_kv and add_zero_attn add are never hidden; torch hides them from a query where it is
    told is_causal=True and need_weights=False and no key_padding_mask.

    >>> import torch
    >>> attention = MultiheadAttention(8, 2, batch_first=True)
    >>> x = torch.ones(1, 3, 8)
    >>> out, weights = attention(x, x, x)
    >>> out.shape, weights.shape
    (torch.Size([1, 3, 8]), torch.Size([1, 3, 3]))
    """

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """out like query, (L, N, M), (N, L, M) or (L, M); and the weights, (N, L, S) or with
        average_attn_weights=False (N, heads, L, S), or None.

        key_padding_mask is (N, S), attn_mask (L, S) or (N * heads, L, S): bool, True where a key is
        hidden, or numbers to add. is_causal is a hint that attn_mask is causal.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is True without attn_mask: give the causal attn_mask too")
        autocast = torch.is_autocast_enabled("cpu")
        if autocast:
            query, key, value = query.float(), key.float(), value.float()
        batched = query.dim() == 3
        inputs = []
        for name, x in (("query", query), ("key", key), ("value", value)):
            _check_type(name, x, (torch.float32,))
            if x.dim() != query.dim() or x.dim() not in (2, 3):
                raise AssertionError(f"{name} has {x.dim()} axes: give all three 3, or all 2")
            inputs.append(_dense(x) if batched else _dense(x).unsqueeze(self._batch_axis))
        options = self._masks(inputs, key_padding_mask, attn_mask, batched)
        if self.training and self.dropout > 0:
            options |= {"dropout": self.dropout, "seed": _seed(self.dropout)}
        weights: Any = "none"
        if need_weights:
            weights = "mean" if average_attn_weights else "heads"
        parameters = {name: _dense(x) for name, x in self.named_parameters() if x is not None}
        tensors = (*inputs, *parameters.values())
        found: torch.Tensor | None = None
        if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            out, found = _Multihead.apply(  # type: ignore[no-untyped-call,unused-ignore]
                *inputs, self.num_heads, weights, options, tuple(parameters), *parameters.values()
            )
        else:
            plain = {name: x.detach() for name, x in parameters.items()}
            q, k, v = (x.detach() for x in inputs)
            answer = dotk.multihead(q, k, v, plain, self.num_heads, weights=weights, **options)
            out, found = answer if need_weights else (answer, None)
        if autocast:
            out = out.to(torch.get_autocast_dtype("cpu"))
            found = None if found is None else found.to(out.dtype)
        if batched:
            return out, found
        return out.squeeze(self._batch_axis), None if found is None else found.squeeze(0)

    @property
    def _batch_axis(self) -> int:
        return 0 if self.batch_first else 1

    def _masks(
        self,
        inputs: list[torch.Tensor],
        key_padding_mask: torch.Tensor | None,
        attn_mask: torch.Tensor | None,
        batched: bool,
    ) -> dict[str, Any]:
        """The options of dotk.multihead."""
        options: dict[str, Any] = {
            "batch_first": self.batch_first,
            "add_zero_attn": self.add_zero_attn,
        }
        batch = inputs[0].shape[self._batch_axis]
        if key_padding_mask is not None and not batched:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        if attn_mask is not None and attn_mask.dim() == 3:
            attn_mask = attn_mask.reshape(batch, self.num_heads, *attn_mask.shape[1:])
        for name, mask in (("key_padding", key_padding_mask), ("attn", attn_mask)):
            if mask is None:
                continue
            if mask.requires_grad and torch.is_grad_enabled():
                raise NotImplementedError(
                    f"{name}_mask requires a gradient, which dotk's module does not give it: use "
                    "scaled_dot_product_attention, or torch's own module"
                )
            if mask.dtype == torch.bool:
                options[f"{name}_mask"] = _dense(mask)
            else:
                if torch.is_autocast_enabled("cpu"):
                    mask = mask.float()
                _check_type(f"{name}_mask", mask, (torch.bool, torch.float32))
                options[f"{name}_bias"] = _dense(mask)
        return options
