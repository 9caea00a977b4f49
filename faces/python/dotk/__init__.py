"""dotk: exact search, attention and dense layers, all made of dot products, in C.

Arrays come in without being copied: numpy's, torch's on the CPU, and whatever else has the buffer
protocol or DLPack. What comes out is a numpy array, or a tensor where a tensor came in, or the
array given as out=.

>>> import dotk
>>> dotk.dot([1, 2, 3], [4, 5, 6])
32.0
"""

from typing import TYPE_CHECKING, Any

from dotk._dotk import (
    Cache,
    Context,
    Dense,
    Error,
    Index,
    Sequence,
    __version__,
    angle,
    attention,
    attention_backward,
    attention_merge,
    attention_plan,
    attention_scores,
    attention_weights,
    cosine,
    dense,
    dense_plan,
    dot,
    get_threads,
    inspect,
    l2,
    linear_attention,
    load,
    log_softmax,
    multihead,
    multihead_backward,
    norm,
    normalize,
    project,
    rotary,
    save,
    set_threads,
    softmax,
    topk_merge,
)

if TYPE_CHECKING:
    from dotk.sklearn import NearestNeighbors as NearestNeighbors

__all__ = [
    "Cache",
    "Context",
    "Dense",
    "Error",
    "Index",
    "Sequence",
    "__version__",
    "angle",
    "attention",
    "attention_backward",
    "attention_merge",
    "attention_plan",
    "attention_scores",
    "attention_weights",
    "cosine",
    "dense",
    "dense_plan",
    "dot",
    "get_threads",
    "inspect",
    "l2",
    "linear_attention",
    "load",
    "log_softmax",
    "multihead",
    "multihead_backward",
    "norm",
    "normalize",
    "project",
    "rotary",
    "save",
    "set_threads",
    "softmax",
    "topk_merge",
]


def __getattr__(name: str) -> Any:
    if name == "NearestNeighbors":  # imported when first used: it needs scikit-learn
        try:
            from dotk.sklearn import NearestNeighbors
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"dotk.NearestNeighbors needs scikit-learn ({error}): pip install scikit-learn",
                name=error.name,
            ) from error
        return NearestNeighbors
    raise AttributeError(f"module 'dotk' has no attribute '{name}'")


def __dir__() -> list[str]:
    from importlib.util import find_spec

    return sorted([*globals(), *(["NearestNeighbors"] if find_spec("sklearn") else [])])
