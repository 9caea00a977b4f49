"""dotk: exact search, attention and dense layers, all made of dot products, in C.

Arrays come in without being copied: numpy's, torch's on the CPU, and whatever else has the buffer
protocol or DLPack. What comes out is a numpy array, or a tensor where a tensor came in, or the
array given as out=.

>>> import dotk
>>> dotk.dot([1, 2, 3], [4, 5, 6])
32.0
"""

from dotk._dotk import (
    Context,
    Error,
    __version__,
    angle,
    cosine,
    dot,
    get_threads,
    inspect,
    l2,
    log_softmax,
    norm,
    normalize,
    project,
    set_threads,
    softmax,
)

__all__ = [
    "Context",
    "Error",
    "__version__",
    "angle",
    "cosine",
    "dot",
    "get_threads",
    "inspect",
    "l2",
    "log_softmax",
    "norm",
    "normalize",
    "project",
    "set_threads",
    "softmax",
]
