"""faiss' exact indexes, over dotk: `import dotk.compat.faiss as faiss`.

IndexFlatIP, IndexFlatL2, IndexFlat, IndexScalarQuantizer (QT_8bit), IndexIDMap and IndexIDMap2,
ID selectors, SearchParameters, knn and normalize_L2, with faiss' shapes, number types, -1 for what
is lacking and squared distances. Where it differs from faiss:

- A row or query with a NaN, an infinity or a squared norm above 2^125 is refused (ValueError);
  faiss takes it and never finds it, or reports an infinite score.
- Of rows with equal scores, those with lower positions come first; with faiss it depends.
- What an index was given is copied: knn() holds the rows a second time while it runs.
- Classes that the engine has nothing for raise NotImplementedError and name what to take instead.

>>> import dotk.compat.faiss as faiss
>>> index = faiss.IndexFlatL2(2)
>>> index.add(np.array([[0, 0], [3, 4]], np.float32))
>>> index.search(np.array([[0, 1]], np.float32), 2)
(array([[ 1., 18.]], dtype=float32), array([[0, 1]]))
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dotk
import numpy as np
import numpy.typing as npt
from dotk.compat.faiss.absent import (
    IndexHNSWFlat,
    IndexHNSWPQ,
    IndexHNSWSQ,
    IndexIVFFlat,
    IndexIVFPQ,
    IndexIVFScalarQuantizer,
    IndexLSH,
    IndexNSGFlat,
    IndexPQ,
    IndexPreTransform,
    IndexRefineFlat,
    IndexReplicas,
    IndexShards,
)
from dotk.compat.faiss.indexes import (
    METRIC_INNER_PRODUCT,
    METRIC_L1,
    METRIC_L2,
    METRIC_Linf,
    METRIC_Lp,
    Index,
    IndexFlat,
    IndexFlatCodes,
    IndexFlatIP,
    IndexFlatL2,
    IndexIDMap,
    IndexIDMap2,
    IndexScalarQuantizer,
    ScalarQuantizer,
)
from dotk.compat.faiss.selectors import (
    IDSelector,
    IDSelectorAll,
    IDSelectorAnd,
    IDSelectorArray,
    IDSelectorBatch,
    IDSelectorBitmap,
    IDSelectorNot,
    IDSelectorOr,
    IDSelectorRange,
    IDSelectorXOr,
    SearchParameters,
)

__all__ = [
    "IDSelector",
    "IDSelectorAll",
    "IDSelectorAnd",
    "IDSelectorArray",
    "IDSelectorBatch",
    "IDSelectorBitmap",
    "IDSelectorNot",
    "IDSelectorOr",
    "IDSelectorRange",
    "IDSelectorXOr",
    "Index",
    "IndexFlat",
    "IndexFlatCodes",
    "IndexFlatIP",
    "IndexFlatL2",
    "IndexHNSWFlat",
    "IndexHNSWPQ",
    "IndexHNSWSQ",
    "IndexIDMap",
    "IndexIDMap2",
    "IndexIVFFlat",
    "IndexIVFPQ",
    "IndexIVFScalarQuantizer",
    "IndexLSH",
    "IndexNSGFlat",
    "IndexPQ",
    "IndexPreTransform",
    "IndexRefineFlat",
    "IndexReplicas",
    "IndexScalarQuantizer",
    "IndexShards",
    "METRIC_INNER_PRODUCT",
    "METRIC_L1",
    "METRIC_L2",
    "METRIC_Linf",
    "METRIC_Lp",
    "ScalarQuantizer",
    "SearchParameters",
    "index_factory",
    "knn",
    "normalize_L2",
    "omp_get_max_threads",
    "omp_set_num_threads",
    "read_index",
    "vector_to_array",
    "write_index",
]

_F32 = npt.NDArray[np.float32]
_I64 = npt.NDArray[np.int64]


def knn(
    xq: npt.ArrayLike, xb: npt.ArrayLike, k: int, metric: int = METRIC_L2, metric_arg: float = 0.0
) -> tuple[_F32, _I64]:
    """The k best of the rows xb for each query of xq: scores and positions, as search() has them."""
    queries = np.ascontiguousarray(xq, dtype=np.float32)
    base = np.ascontiguousarray(xb, dtype=np.float32)
    if queries.ndim != 2 or base.ndim != 2:
        raise ValueError(f"xq has {queries.ndim} axes and xb {base.ndim}: give 2, (rows, d)")
    if queries.shape[1] != base.shape[1]:
        raise AssertionError(f"xq has rows of {queries.shape[1]} values, xb of {base.shape[1]}")
    if k == 0:
        return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    if k < 0:
        raise ValueError(f"k is {k}: ask for at least 1")
    index = IndexFlat(base.shape[1], metric)
    index.add(base)
    return index.search(queries, k)


def normalize_L2(x: _F32) -> None:
    """Scales the rows of x (n, d), float32, to unit length where they are. Zeros stay zeros."""
    if len(x.shape) < 2:
        raise IndexError(f"x has {len(x.shape)} axes: give 2, (rows, d)")
    if x.dtype != np.float32:
        raise TypeError(f"x is of {x.dtype}: give float32, it is changed where it is")
    if len(x.shape) > 2 or not x.flags.c_contiguous:
        raise ValueError("x is not contiguous rows: give numpy.ascontiguousarray(x)")
    if x.size > 0:
        norms = dotk.norm(x)[:, None]
        with np.errstate(invalid="ignore"):
            np.divide(x, norms, out=x, where=norms > 0)


def index_factory(d: int, description: str, metric: int = METRIC_L2) -> Index:
    """The index that a description names: "Flat" or "SQ8", with "IDMap," or "IDMap2," before it."""
    *wrappers, inner = description.split(",")
    if inner not in ("Flat", "SQ8") or wrappers not in ([], ["IDMap"], ["IDMap2"]):
        raise NotImplementedError(
            f'"{description}" is not in dotk: "Flat" and "SQ8" are, also after "IDMap," and '
            '"IDMap2,"'
        )
    index = (
        IndexFlat(d, metric)
        if inner == "Flat"
        else IndexScalarQuantizer(d, ScalarQuantizer.QT_8bit, metric)
    )
    if not wrappers:
        return index
    return IndexIDMap(index) if wrappers == ["IDMap"] else IndexIDMap2(index)


def vector_to_array(v: Sequence[int] | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy of such as IndexIDMap.id_map."""
    return np.array(v)


def omp_set_num_threads(num_threads: int) -> None:
    """How many threads indexes have that are made from now on: dotk.set_threads()."""
    dotk.set_threads(num_threads)


def omp_get_max_threads() -> int:
    """How many threads an index would have that is made now."""
    return dotk.get_threads()


_NO_FILES = (
    "indexes are not files in dotk: keep their rows, numpy.save(path, index.reconstruct_n()), and "
    "add them again"
)


def read_index(*arguments: Any) -> Index:
    """Not there."""
    raise NotImplementedError(_NO_FILES)


def write_index(index: Index, *arguments: Any) -> None:
    """Not there."""
    raise NotImplementedError(_NO_FILES)


_ON_THE_CPU = "dotk runs on the CPU: use the index itself"
_INSTEAD = {
    "Clustering": "dotk makes no clusters: take scikit-learn's KMeans",
    "Kmeans": "dotk makes no clusters: take scikit-learn's KMeans",
    "StandardGpuResources": _ON_THE_CPU,
    "clone_index": "make a new index and add reconstruct_n() of the other",
    "deserialize_index": _NO_FILES,
    "index_cpu_to_all_gpus": _ON_THE_CPU,
    "index_cpu_to_gpu": _ON_THE_CPU,
    "knn_gpu": "dotk runs on the CPU: call knn()",
    "merge_knn_results": "call dotk.topk_merge()",
    "pairwise_distances": "call knn() with k = len(xb), which has them all, nearest first",
    "serialize_index": _NO_FILES,
}

if not TYPE_CHECKING:  # with it a type checker would let every name through

    def __getattr__(name: str) -> Any:
        what = f"module {__name__!r} has no attribute {name!r}"
        if name.startswith("_"):
            raise AttributeError(what)
        instead = _INSTEAD.get(name, "it has faiss' exact indexes, which __all__ lists")
        raise AttributeError(f"{what}: {instead}")
