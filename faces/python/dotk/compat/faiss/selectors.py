"""Which rows a search may return."""

import numpy as np
import numpy.typing as npt

_I64 = npt.NDArray[np.int64]
_U8 = npt.NDArray[np.uint8]
_Flags = npt.NDArray[np.bool_]


class IDSelector:
    """Which ids a search may return, or remove_ids() removes."""

    def is_member(self, id: int) -> bool:
        return bool(self._members(np.array([id], np.int64))[0])

    def _members(self, ids: _I64) -> _Flags:
        raise NotImplementedError(f"{type(self).__name__} does not say which ids it selects")

    def _below(self, n: int) -> _Flags | _I64:
        """Those of 0 .. n - 1: as n flags, or in ascending order."""
        return self._members(np.arange(n))


class IDSelectorAll(IDSelector):
    """Every id."""

    def _members(self, ids: _I64) -> _Flags:
        return np.ones(ids.shape, np.bool_)


class IDSelectorRange(IDSelector):
    """Ids from imin up to, and without, imax."""

    def __init__(self, imin: int, imax: int, assume_sorted: bool = False) -> None:
        self.imin, self.imax = imin, imax

    def _members(self, ids: _I64) -> _Flags:
        return (ids >= self.imin) & (ids < self.imax)


class IDSelectorArray(IDSelector):
    """The ids of an array, which is borrowed where it is int64."""

    def __init__(self, ids: npt.ArrayLike) -> None:
        self._ids: _I64 = np.ascontiguousarray(ids, dtype=np.int64)

    def _members(self, ids: _I64) -> _Flags:
        return np.isin(ids, self._ids)

    def _below(self, n: int) -> _I64:
        return np.unique(self._ids[(self._ids >= 0) & (self._ids < n)])


class IDSelectorBatch(IDSelectorArray):
    """The ids of an array, which is copied."""

    def __init__(self, ids: npt.ArrayLike) -> None:
        super().__init__(np.array(ids, dtype=np.int64))


class IDSelectorBitmap(IDSelector):
    """Ids whose bit is set: bit id % 8, the lowest first, of byte id / 8. The array is borrowed."""

    def __init__(self, bitmap: _U8) -> None:
        if not isinstance(bitmap, np.ndarray):
            raise ValueError("the bitmap is no numpy array: give one of uint8")
        if bitmap.dtype != np.uint8:
            raise TypeError(f"the bitmap is of {bitmap.dtype}: give uint8, see numpy.packbits")
        if not bitmap.flags.c_contiguous or bitmap.ndim != 1:
            raise ValueError("the bitmap is not one row of contiguous bytes: give bitmap.ravel()")
        self._bitmap = bitmap

    def _members(self, ids: _I64) -> _Flags:
        inside = (ids >= 0) & (ids < 8 * self._bitmap.size)
        chosen: _Flags = np.zeros(ids.shape, np.bool_)
        these = ids[inside]
        chosen[inside] = (self._bitmap[these >> 3] >> (these & 7)) & 1
        return chosen

    def _below(self, n: int) -> _Flags:
        chosen = np.zeros(n, np.bool_)
        bits = np.unpackbits(self._bitmap, count=min(n, 8 * self._bitmap.size), bitorder="little")
        chosen[: bits.size] = bits
        return chosen


class IDSelectorNot(IDSelector):
    """Ids that another selector does not select."""

    def __init__(self, sel: IDSelector) -> None:
        self._sel = sel

    def _members(self, ids: _I64) -> _Flags:
        return ~self._sel._members(ids)


class IDSelectorAnd(IDSelector):
    """Ids that both selectors select."""

    def __init__(self, lhs: IDSelector, rhs: IDSelector) -> None:
        self._lhs, self._rhs = lhs, rhs

    def _members(self, ids: _I64) -> _Flags:
        return self._lhs._members(ids) & self._rhs._members(ids)


class IDSelectorOr(IDSelectorAnd):
    """Ids that either selector selects."""

    def _members(self, ids: _I64) -> _Flags:
        return self._lhs._members(ids) | self._rhs._members(ids)


class IDSelectorXOr(IDSelectorAnd):
    """Ids that just one of the selectors selects."""

    def _members(self, ids: _I64) -> _Flags:
        return self._lhs._members(ids) ^ self._rhs._members(ids)


class SearchParameters:
    """What a search is told beside its queries: `SearchParameters(sel=...)`."""

    _sel: IDSelector | None = None

    def __init__(self, *, sel: IDSelector | None = None) -> None:
        self.sel = sel

    @property
    def sel(self) -> IDSelector | None:
        return self._sel

    @sel.setter
    def sel(self, sel: IDSelector | None) -> None:
        if sel is not None and not isinstance(sel, IDSelector):
            raise TypeError(f"sel is {sel!r}: give an IDSelector")
        self._sel = sel


def _selector(params: SearchParameters | None) -> IDSelector | None:
    if params is not None and not isinstance(params, SearchParameters):
        raise TypeError(f"params is {params!r}: give SearchParameters")
    return None if params is None else params.sel
