# Types of the extension. Arrays in are whatever numpy takes and tensors; arrays out are numpy's, or
# tensors where a tensor came in, or those given as out=.
from os import PathLike
from typing import Any, Iterable, Literal, Protocol, TypedDict, TypeVar, final, overload

import numpy as np
import numpy.typing as npt

class _Tensor(Protocol):
    """What tells a torch.Tensor from numpy's arrays."""

    def __dlpack__(self) -> Any: ...
    def data_ptr(self) -> int: ...

_T = TypeVar("_T", bound=_Tensor)
_Out = TypeVar("_Out")
_Ids = TypeVar("_Ids")
_Scores = TypeVar("_Scores")
_Array = npt.ArrayLike | _Tensor
_F32 = npt.NDArray[np.float32]
_I64 = npt.NDArray[np.int64]
_Metric = Literal["dot", "cosine", "l2"]
_Store = Literal["f32", "f16", "bf16", "int8"]
_Screen = Literal["none", "int8", "int4"]
# What dtype= takes: _Store or a file's, by these names or numpy's.
_StoreName = Literal["f32", "f16", "bf16", "int8", "i8", "float32", "float16", "bfloat16"]
_FileType = Literal[
    "f32", "u8", "f16", "bf16", "i8", "float32", "uint8", "float16", "bfloat16", "int8"
]

class _Inspection(TypedDict):
    rows: int
    dim: int
    nan_rows: int
    infinite_rows: int
    zero_rows: int
    duplicate_rows: int
    unit_rows: int
    norm_min: float
    norm_mean: float
    norm_max: float
    norm_quantiles: tuple[float, float, float, float, float]
    unit: bool
    mixed: bool
    metric: _Metric
    why: str

__version__: str

class Error(RuntimeError): ...

@final
class Context:
    def __new__(cls, threads: int = 0, *, isa: str | None = None) -> Context: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...

def set_threads(threads: int) -> None: ...
def get_threads() -> int: ...

# Of two vectors a float, else an array.
def dot(a: _Array, b: _Array, *, out: Any = None) -> Any: ...
def l2(a: _Array, b: _Array, *, out: Any = None) -> Any: ...
def cosine(a: _Array, b: _Array, *, out: Any = None) -> Any: ...
def angle(a: _Array, b: _Array, *, out: Any = None) -> Any: ...
def norm(a: _Array, *, out: Any = None) -> Any: ...
@overload
def normalize(a: _Array, *, out: _Out) -> _Out: ...
@overload
def normalize(a: _T, *, out: None = None) -> _T: ...
@overload
def normalize(a: npt.ArrayLike, *, out: None = None) -> _F32: ...
def project(a: _Array, b: _Array, *, out: Any = None) -> Any: ...
@overload
def softmax(a: _Array, *, temperature: float = 1.0, out: _Out) -> _Out: ...
@overload
def softmax(a: _T, *, temperature: float = 1.0, out: None = None) -> _T: ...
@overload
def softmax(a: npt.ArrayLike, *, temperature: float = 1.0, out: None = None) -> _F32: ...
@overload
def log_softmax(a: _Array, *, temperature: float = 1.0, out: _Out) -> _Out: ...
@overload
def log_softmax(a: _T, *, temperature: float = 1.0, out: None = None) -> _T: ...
@overload
def log_softmax(a: npt.ArrayLike, *, temperature: float = 1.0, out: None = None) -> _F32: ...
def inspect(vectors: _Array, *, context: Context | None = None) -> _Inspection: ...

@final
class Index:
    def __new__(
        cls,
        dim: int,
        metric: _Metric = "dot",
        dtype: _StoreName = "f32",
        *,
        screen: _Screen | None = None,
        expect_unit: bool = False,
        delta: float | None = None,
        seed: int | None = None,
        context: Context | None = None,
    ) -> Index: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> _Metric: ...
    @property
    def dtype(self) -> _Store: ...
    @property
    def screen(self) -> _Screen: ...
    @property
    def context(self) -> Context: ...
    def __len__(self) -> int: ...
    def add(self, rows: _Array, ids: _Array | None = None) -> None: ...
    def update(self, rows: _Array, ids: _Array) -> None: ...
    def remove(self, ids: _Array) -> None: ...
    @overload
    def reconstruct(self, ids: int | _Array, *, out: _Out) -> _Out: ...
    @overload
    def reconstruct(self, ids: _T, *, out: None = None) -> _T: ...
    @overload
    def reconstruct(self, ids: int | npt.ArrayLike, *, out: None = None) -> _F32: ...
    @overload
    def search(
        self,
        queries: _Array,
        k: int,
        *,
        filter: _Array | None = None,
        clip_at_zero: bool = False,
        out: tuple[_Ids, _Scores],
        stats: dict[str, Any] | None = None,
    ) -> tuple[_Ids, _Scores]: ...
    @overload
    def search(
        self,
        queries: _T,
        k: int,
        *,
        filter: _Array | None = None,
        clip_at_zero: bool = False,
        out: None = None,
        stats: dict[str, Any] | None = None,
    ) -> tuple[_T, _T]: ...
    @overload
    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        filter: _Array | None = None,
        clip_at_zero: bool = False,
        out: None = None,
        stats: dict[str, Any] | None = None,
    ) -> tuple[_I64, _F32]: ...
    @overload
    def range(
        self,
        queries: _T,
        threshold: float,
        *,
        filter: _Array | None = None,
        clip_at_zero: bool = False,
        stats: dict[str, Any] | None = None,
    ) -> tuple[_T, _T, _T]: ...
    @overload
    def range(
        self,
        queries: npt.ArrayLike,
        threshold: float,
        *,
        filter: _Array | None = None,
        clip_at_zero: bool = False,
        stats: dict[str, Any] | None = None,
    ) -> tuple[_I64, _I64, _F32]: ...
    def plan(self, n: int, k: int, *, filter: _Array | None = None) -> str: ...

@overload
def topk_merge(ids: _T, scores: _T, metric: _Metric = "dot") -> tuple[_T, _T]: ...
@overload
def topk_merge(
    ids: npt.ArrayLike, scores: npt.ArrayLike, metric: _Metric = "dot"
) -> tuple[_I64, _F32]: ...
def load(
    path: str | PathLike[str], *, dtype: _FileType | None = None, dim: int | None = None
) -> _F32: ...
def save(
    path: str | PathLike[str],
    vectors: _Array,
    *,
    dtype: _FileType | None = None,
    context: Context | None = None,
) -> None: ...

# An array, or with lse a pair; of the type of q, which may be float32, float16 or bfloat16.
def attention(
    q: _Array,
    k: _Array,
    v: _Array,
    *,
    scale: float | None = None,
    causal: bool = False,
    window_left: int | None = None,
    window_right: int | None = None,
    query_offset: int = 0,
    query_offsets: _Array | None = None,
    key_lengths: _Array | None = None,
    mask: _Array | None = None,
    bias: _Array | None = None,
    blocks: tuple[int, int, _Array, _Array] | None = None,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    slopes: _Array | None = None,
    sinks: _Array | None = None,
    query_starts: _Array | None = None,
    key_starts: _Array | None = None,
    key_scales: _Array | None = None,
    value_scales: _Array | None = None,
    lse: Any = False,
    out: Any = None,
    context: Context | None = None,
) -> Any: ...
def attention_backward(
    q: _Array,
    k: _Array,
    v: _Array,
    out: _Array,
    lse: _Array,
    d_out: _Array,
    *,
    scale: float | None = None,
    causal: bool = False,
    window_left: int | None = None,
    window_right: int | None = None,
    query_offset: int = 0,
    query_offsets: _Array | None = None,
    key_lengths: _Array | None = None,
    mask: _Array | None = None,
    bias: _Array | None = None,
    blocks: tuple[int, int, _Array, _Array] | None = None,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    slopes: _Array | None = None,
    sinks: _Array | None = None,
    query_starts: _Array | None = None,
    key_starts: _Array | None = None,
    key_scales: _Array | None = None,
    value_scales: _Array | None = None,
    gradients: Iterable[str] = ("q", "k", "v"),
    context: Context | None = None,
) -> dict[str, Any]: ...
def attention_weights(
    q: _Array,
    k: _Array,
    *,
    scale: float | None = None,
    causal: bool = False,
    window_left: int | None = None,
    window_right: int | None = None,
    query_offset: int = 0,
    query_offsets: _Array | None = None,
    key_lengths: _Array | None = None,
    mask: _Array | None = None,
    bias: _Array | None = None,
    blocks: tuple[int, int, _Array, _Array] | None = None,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    slopes: _Array | None = None,
    sinks: _Array | None = None,
    query_starts: _Array | None = None,
    key_starts: _Array | None = None,
    key_scales: _Array | None = None,
    average: bool = False,
    out: Any = None,
    context: Context | None = None,
) -> Any: ...
def attention_scores(
    q: _Array,
    k: _Array,
    *,
    scale: float | None = None,
    causal: bool = False,
    window_left: int | None = None,
    window_right: int | None = None,
    query_offset: int = 0,
    query_offsets: _Array | None = None,
    key_lengths: _Array | None = None,
    mask: _Array | None = None,
    bias: _Array | None = None,
    blocks: tuple[int, int, _Array, _Array] | None = None,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    slopes: _Array | None = None,
    sinks: _Array | None = None,
    query_starts: _Array | None = None,
    key_starts: _Array | None = None,
    key_scales: _Array | None = None,
    stage: Literal["product", "capped", "masked"] = "masked",
    out: Any = None,
    context: Context | None = None,
) -> Any: ...
def attention_plan(
    q: _Array,
    k: _Array,
    v: _Array,
    *,
    scale: float | None = None,
    causal: bool = False,
    window_left: int | None = None,
    window_right: int | None = None,
    query_offset: int = 0,
    query_offsets: _Array | None = None,
    key_lengths: _Array | None = None,
    mask: _Array | None = None,
    bias: _Array | None = None,
    blocks: tuple[int, int, _Array, _Array] | None = None,
    softcap: float = 0.0,
    dropout: float = 0.0,
    seed: int = 0,
    slopes: _Array | None = None,
    sinks: _Array | None = None,
    query_starts: _Array | None = None,
    key_starts: _Array | None = None,
    key_scales: _Array | None = None,
    value_scales: _Array | None = None,
    context: Context | None = None,
) -> str: ...
@overload
def attention_merge(out_a: _T, lse_a: _T, out_b: _T, lse_b: _T) -> tuple[_T, _T]: ...
@overload
def attention_merge(
    out_a: npt.ArrayLike, lse_a: npt.ArrayLike, out_b: npt.ArrayLike, lse_b: npt.ArrayLike
) -> tuple[_F32, _F32]: ...

# An array, (out, weights), or (out, weights or None, saved).
def multihead(
    query: _Array,
    key: _Array,
    value: _Array,
    parameters: dict[str, Any],
    heads: int,
    *,
    batch_first: bool = False,
    add_zero_attn: bool = False,
    causal: bool = False,
    key_padding_mask: _Array | None = None,
    key_padding_bias: _Array | None = None,
    attn_mask: _Array | None = None,
    attn_bias: _Array | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    weights: Literal["none", "mean", "heads"] = "none",
    saved: bool = False,
    out: Any = None,
    context: Context | None = None,
) -> Any: ...
def multihead_backward(
    query: _Array,
    key: _Array,
    value: _Array,
    parameters: dict[str, Any],
    heads: int,
    saved: _Array,
    d_out: _Array,
    *,
    batch_first: bool = False,
    add_zero_attn: bool = False,
    causal: bool = False,
    key_padding_mask: _Array | None = None,
    key_padding_bias: _Array | None = None,
    attn_mask: _Array | None = None,
    attn_bias: _Array | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    gradients: Iterable[str] | None = None,
    context: Context | None = None,
) -> dict[str, Any]: ...

_Activation = Literal["none", "relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"]

@overload
def dense(
    x: _Array,
    weight: _Array,
    bias: _Array | None = None,
    *,
    activation: _Activation = "none",
    out: _Out,
    context: Context | None = None,
) -> _Out: ...
@overload
def dense(
    x: _T,
    weight: _Array,
    bias: _Array | None = None,
    *,
    activation: _Activation = "none",
    out: None = None,
    context: Context | None = None,
) -> _T: ...
@overload
def dense(
    x: npt.ArrayLike,
    weight: _Array,
    bias: _Array | None = None,
    *,
    activation: _Activation = "none",
    out: None = None,
    context: Context | None = None,
) -> _F32: ...
def dense_plan(
    rows: int, outputs: int, inputs: int, *, prepared: bool = False, context: Context | None = None
) -> str: ...
@final
class Dense:
    def __new__(cls, weight: _Array, bias: _Array | None = None) -> Dense: ...
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    def __call__(
        self,
        x: _Array,
        *,
        activation: _Activation = "none",
        out: Any = None,
        context: Context | None = None,
    ) -> Any: ...

# Like x, or like q and then with present a pair.
def rotary(
    x: _Array,
    *,
    rotary_width: int = 0,
    interleaved: bool = False,
    inverse: bool = False,
    theta: float = 0.0,
    frequencies: _Array | None = None,
    positions: _Array | None = None,
    offset: int = 0,
    cosines: _Array | None = None,
    sines: _Array | None = None,
    out: Any = None,
    context: Context | None = None,
) -> Any: ...
def linear_attention(
    q: _Array,
    k: _Array,
    v: _Array,
    *,
    rule: Literal["linear", "gated", "delta", "gated_delta"] = "linear",
    feature_map: Literal["none", "elu_plus_1"] = "none",
    normalize: bool = False,
    scale: float | None = None,
    decay: _Array | None = None,
    beta: _Array | None = None,
    lengths: _Array | None = None,
    past: _Array | None = None,
    present: Any = False,
    out: Any = None,
    context: Context | None = None,
) -> Any: ...

@final
class Cache:
    def __new__(
        cls,
        heads: int,
        width: int,
        dtype: _StoreName = "f32",
        *,
        value_width: int = 0,
        page_keys: int = 0,
        memory_limit: int = 0,
    ) -> Cache: ...
    @property
    def heads(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def value_width(self) -> int: ...
    @property
    def dtype(self) -> _Store: ...
    def sequence(self) -> Sequence: ...
    def usage(self) -> dict[str, int]: ...
    def attention(
        self,
        sequences: Iterable[Sequence],
        q: _Array,
        *,
        scale: float | None = None,
        causal: bool = False,
        window_left: int | None = None,
        window_right: int | None = None,
        query_offsets: _Array | None = None,
        key_lengths: _Array | None = None,
        mask: _Array | None = None,
        bias: _Array | None = None,
        softcap: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
        slopes: _Array | None = None,
        sinks: _Array | None = None,
        queries: _Array | None = None,
        lse: Any = False,
        out: Any = None,
        context: Context | None = None,
    ) -> Any: ...

@final
class Sequence:
    def __len__(self) -> int: ...
    def add(
        self,
        k: _Array,
        v: _Array,
        *,
        rotary: bool = False,
        interleaved: bool = False,
        rotary_width: int = 0,
        theta: float = 0.0,
        frequencies: _Array | None = None,
        positions: _Array | None = None,
        context: Context | None = None,
    ) -> None: ...
    def get(self, first: int = 0, count: int | None = None) -> tuple[_F32, _F32]: ...
    def fork(self, count: int | None = None) -> Sequence: ...
    def truncate(self, count: int) -> None: ...

# Present where the command line was built in.
def command(arguments: Iterable[str]) -> int: ...
