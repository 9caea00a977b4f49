"""What the engine has nothing for: classes that say what to take instead."""

from typing import Any, ClassVar

from dotk.compat.faiss.indexes import Index


class _Absent(Index):
    _instead: ClassVar[str] = (
        "every search here is exact, and IndexFlatL2 and IndexFlatIP need no training"
    )

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} is not in dotk: {self._instead}")


class IndexIVFFlat(_Absent):
    """Not there: IndexFlatL2 or IndexFlatIP."""


class IndexHNSWFlat(_Absent):
    """Not there: IndexFlatL2 or IndexFlatIP."""


class IndexNSGFlat(_Absent):
    """Not there: IndexFlatL2 or IndexFlatIP."""


class IndexLSH(_Absent):
    """Not there: IndexFlatL2 or IndexFlatIP."""


class IndexRefineFlat(_Absent):
    """Not there: IndexFlatL2 or IndexFlatIP."""


class IndexPreTransform(_Absent):
    """Not there: IndexFlatL2 or IndexFlatIP."""


class _Coded(_Absent):
    _instead = (
        "IndexScalarQuantizer is, and dotk.Index(d, metric, dtype='int8'), for a byte a value"
    )


class IndexPQ(_Coded):
    """Not there: IndexScalarQuantizer, or dotk.Index of int8."""


class IndexIVFPQ(_Coded):
    """Not there: IndexScalarQuantizer, or dotk.Index of int8."""


class IndexIVFScalarQuantizer(_Coded):
    """Not there: IndexScalarQuantizer, or dotk.Index of int8."""


class IndexHNSWSQ(_Coded):
    """Not there: IndexScalarQuantizer, or dotk.Index of int8."""


class IndexHNSWPQ(_Coded):
    """Not there: IndexScalarQuantizer, or dotk.Index of int8."""


class _Several(_Absent):
    _instead = "search each index by itself and bring answers together with dotk.topk_merge()"


class IndexShards(_Several):
    """Not there: dotk.topk_merge()."""


class IndexReplicas(_Absent):
    """Not there: any number of threads may search one index."""

    _instead = "any number of threads may search one index at once"
