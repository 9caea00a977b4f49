"""Indexes over dotk.Index."""

from typing import Any, Literal

import dotk
import numpy as np
import numpy.typing as npt
from dotk.compat.faiss.selectors import IDSelector, IDSelectorBatch, SearchParameters, _selector

METRIC_INNER_PRODUCT = 0
METRIC_L2 = 1
METRIC_L1 = 2
METRIC_Linf = 3
METRIC_Lp = 4

_F32 = npt.NDArray[np.float32]
_I64 = npt.NDArray[np.int64]
_U8 = npt.NDArray[np.uint8]
_Flags = npt.NDArray[np.bool_]

_LARGEST = np.finfo(np.float32).max


def _metric_name(metric: int) -> Literal["dot", "l2"]:
    if metric == METRIC_INNER_PRODUCT:
        return "dot"
    if metric == METRIC_L2:
        return "l2"
    raise NotImplementedError(
        f"metric is {metric}: dotk has METRIC_INNER_PRODUCT (0) and METRIC_L2 (1)"
    )


def _rows(x: npt.NDArray[Any], d: int) -> _F32:
    if len(x.shape) != 2:
        raise ValueError(f"x has {len(x.shape)} axes: give 2, (rows, {d})")
    if x.shape[1] != d:
        raise AssertionError(f"x has rows of {x.shape[1]} values, the index of {d}")
    return np.ascontiguousarray(x, dtype=np.float32)


def _result(
    given: npt.NDArray[Any] | None, name: str, shape: tuple[int, ...], dtype: type
) -> npt.NDArray[Any]:
    """The array to write a result to: the caller's or a new one."""
    if given is None:
        return np.empty(shape, dtype)
    if given.shape != shape:
        raise AssertionError(f"{name} has the shape {given.shape}: give {shape}")
    return given


class _Numbers:
    """int64 numbers that are appended often and read as one array."""

    def __init__(self, numbers: _I64) -> None:
        self._parts = [numbers]

    def append(self, numbers: _I64) -> None:
        self._parts.append(numbers)

    def all(self) -> _I64:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0]


class Index:
    """What all indexes can do. Rows are float32; other numbers are converted."""

    d: int
    metric_type: int
    is_trained: bool = True
    verbose: bool = False

    @property
    def ntotal(self) -> int:
        """How many rows it has."""
        raise NotImplementedError

    def train(self, x: npt.NDArray[Any]) -> None:
        _rows(x, self.d)

    def add(self, x: npt.NDArray[Any]) -> None:
        """Adds rows (n, d), at the positions ntotal, ntotal + 1, ..."""
        raise NotImplementedError

    def add_with_ids(self, x: npt.NDArray[Any], ids: npt.NDArray[Any]) -> None:
        raise RuntimeError(
            f"add_with_ids not implemented for {type(self).__name__}: take IndexIDMap"
        )

    def remove_ids(self, x: IDSelector | npt.NDArray[Any]) -> int:
        """Removes the rows with these ids and returns how many there were."""
        raise NotImplementedError

    def reset(self) -> None:
        """Removes all rows."""
        raise NotImplementedError

    def reconstruct_batch(self, key: npt.ArrayLike, x: _F32 | None = None) -> _F32:
        """The rows with these ids, (n, d)."""
        raise NotImplementedError

    def reconstruct(self, key: int, x: _F32 | None = None) -> _F32:
        """The row with this id, (d)."""
        row = _result(x, "x", (self.d,), np.float32)
        row[:] = self.reconstruct_batch([key])[0]
        return row

    def reconstruct_n(self, n0: int = 0, ni: int = -1, x: _F32 | None = None) -> _F32:
        """Rows n0 .. n0 + ni - 1; -1: all from n0 on."""
        if ni == -1:
            ni = self.ntotal - n0
        if ni < 0 or n0 < 0 or n0 + ni > self.ntotal:
            raise RuntimeError(f"rows {n0} to {n0 + ni - 1} are asked for, of {self.ntotal}")
        return self.reconstruct_batch(np.arange(n0, n0 + ni), x)

    def search(
        self,
        x: npt.NDArray[Any],
        k: int,
        *,
        params: SearchParameters | None = None,
        D: _F32 | None = None,
        I: _I64 | None = None,
    ) -> tuple[_F32, _I64]:
        """The k best rows of each query (n, d): scores and ids, each (n, k), best first.

        Where fewer are found, ids are -1 and scores the largest float32, or its negative.
        """
        x = _rows(x, self.d)
        if k < 1:
            raise AssertionError(f"k is {k}: ask for at least 1")
        shape = x.shape[0], k
        D, I = _result(D, "D", shape, np.float32), _result(I, "I", shape, np.int64)
        self._search(x, _selector(params), D, I)
        lacking = I[:, -1] < 0
        if lacking.any():
            D[I < 0] = _LARGEST if self.metric_type == METRIC_L2 else -_LARGEST
            self._translate(I, I >= 0)
        else:
            self._translate(I, ...)
        return D, I

    def range_search(
        self, x: npt.NDArray[Any], thresh: float, *, params: SearchParameters | None = None
    ) -> tuple[npt.NDArray[np.uint64], _F32, _I64]:
        """All rows nearer than thresh (inner product: that score more), by position.

        Returns lims (n + 1), D and I: query i has places lims[i] .. lims[i + 1] - 1 of both.
        """
        x = _rows(x, self.d)
        with np.errstate(over="ignore"):
            limit = np.float32(thresh)
        starts, ids, scores = self._range(x, float(limit), _selector(params))
        query = np.repeat(np.arange(x.shape[0]), np.diff(starts))
        keep = scores < limit if self.metric_type == METRIC_L2 else scores > limit
        order = np.lexsort((ids, query))
        order = order[keep[order]]
        lims = np.zeros(x.shape[0] + 1, np.uint64)
        lims[1:] = np.cumsum(np.bincount(query[keep], minlength=x.shape[0]))
        ids = ids[order]
        self._translate(ids, ...)
        return lims, scores[order], ids

    def assign(self, x: npt.NDArray[Any], k: int, labels: _I64 | None = None) -> _I64:
        """The ids that search() finds."""
        return self.search(x, k, I=labels)[1]

    def search_and_reconstruct(
        self,
        x: npt.NDArray[Any],
        k: int,
        *,
        params: SearchParameters | None = None,
        D: _F32 | None = None,
        I: _I64 | None = None,
        R: _F32 | None = None,
    ) -> tuple[_F32, _I64, _F32]:
        """search(), and the rows found, (n, k, d); NaN where there is none."""
        D, I = self.search(x, k, params=params, D=D, I=I)
        R = _result(R, "R", (*I.shape, self.d), np.float32)
        R.fill(np.nan)
        found = I >= 0
        R[found] = self.reconstruct_batch(I[found])
        return D, I, R

    # By the positions of rows: 0 to ntotal - 1.

    def _search(self, x: _F32, sel: IDSelector | None, D: _F32, I: _I64) -> None:
        raise NotImplementedError

    def _range(self, x: _F32, limit: float, sel: IDSelector | None) -> tuple[_I64, _I64, _F32]:
        raise NotImplementedError

    def _translate(self, positions: _I64, found: Any) -> None:
        """Makes ids of positions."""


class IndexFlatCodes(Index):
    """Rows that are found by their positions.

    Positions are the ids of a dotk.Index as long as no row is removed. Its ids never change; then
    `_ids` holds them, ascending, and the position of a row is the place of its id.
    """

    def __init__(self, d: int, metric: int) -> None:
        self.metric_type = metric
        self._index = dotk.Index(d, _metric_name(metric))
        self.d = d
        self._added = 0
        self._ids: _Numbers | None = None

    @property
    def ntotal(self) -> int:
        return len(self._index)

    def add(self, x: npt.NDArray[Any]) -> None:
        rows = self._kept(_rows(x, self.d))
        self._index.add(rows)
        if self._ids is not None:
            self._ids.append(np.arange(self._added, self._added + len(rows)))
        self._added += len(rows)

    def remove_ids(self, x: IDSelector | npt.NDArray[Any]) -> int:
        """Rows behind those removed move up: their positions change."""
        return self._remove(_to_remove(x)._below(self.ntotal))

    def reset(self) -> None:
        self._index = dotk.Index(self.d, _metric_name(self.metric_type))
        self._added = 0
        self._ids = None

    def reconstruct_batch(self, key: npt.ArrayLike, x: _F32 | None = None) -> _F32:
        positions: _I64 = np.ascontiguousarray(key, dtype=np.int64)
        out = _result(x, "x", (positions.size, self.d), np.float32)
        wrong = (positions < 0) | (positions >= self.ntotal)
        if wrong.any():
            raise RuntimeError(f"there is no row {positions[wrong][0]}, of {self.ntotal}")
        self._index.reconstruct(self._ids_of(positions), out=out)
        return out

    def _kept(self, rows: _F32) -> _F32:
        return rows

    def _ids_of(self, positions: Any) -> Any:
        """Of positions, or of flags, one a position."""
        if self._ids is None:
            return positions
        return self._ids.all()[positions]

    def _remove(self, positions: _Flags | _I64) -> int:
        before = self._ids.all() if self._ids is not None else np.arange(self._added)
        gone = before[positions]
        if gone.size > 0:
            self._index.remove(gone)
            stay = np.ones(before.size, np.bool_)
            stay[positions] = False
            self._ids = _Numbers(before[stay])
        return gone.size

    def _filter(self, sel: IDSelector | None) -> _Flags | _I64 | None:
        return None if sel is None else self._ids_of(sel._below(self.ntotal))

    def _to_positions(self, ids: _I64) -> None:
        if self._ids is not None:
            ids[ids >= 0] = np.searchsorted(self._ids.all(), ids[ids >= 0])

    def _search(self, x: _F32, sel: IDSelector | None, D: _F32, I: _I64) -> None:
        self._index.search(x, I.shape[1], filter=self._filter(sel), out=(I, D))
        self._to_positions(I)

    def _range(self, x: _F32, limit: float, sel: IDSelector | None) -> tuple[_I64, _I64, _F32]:
        starts, ids, scores = self._index.range(x, limit, filter=self._filter(sel))
        self._to_positions(ids)
        return starts, ids, scores


def _to_remove(x: IDSelector | npt.NDArray[Any]) -> IDSelector:
    if isinstance(x, IDSelector):
        return x
    if x.ndim != 1:
        raise AssertionError(f"the ids have {x.ndim} axes: give 1")
    return IDSelectorBatch(x)


class IndexFlat(IndexFlatCodes):
    """All rows, as they are, scored by inner product or squared distance."""

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        super().__init__(d, metric)


class IndexFlatL2(IndexFlat):
    """All rows, as they are; the smallest squared distances are best."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)


class IndexFlatIP(IndexFlat):
    """All rows, as they are; the largest inner products are best."""

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)


class ScalarQuantizer:
    """The names of kinds of codes."""

    QT_8bit = 0
    QT_4bit = 1
    QT_8bit_uniform = 2
    QT_4bit_uniform = 3
    QT_fp16 = 4
    QT_8bit_direct = 5
    QT_6bit = 6
    QT_bf16 = 7
    QT_8bit_direct_signed = 8


class IndexScalarQuantizer(IndexFlatCodes):
    """Rows as faiss' QT_8bit keeps them: a byte for each value, between the least and the largest
    value that training saw in its dimension. Scores are those of the decoded rows.

    So that answers are faiss' own, rows are encoded and decoded as faiss does, and the *decoded*
    rows are searched: they take 4 bytes a value as in an IndexFlat, where faiss keeps 1. To save
    memory take dotk.Index(d, metric, dtype="int8"), whose codes need no training.
    """

    def __init__(self, d: int, qtype: int, metric: int = METRIC_L2) -> None:
        if qtype != ScalarQuantizer.QT_8bit:
            raise NotImplementedError(
                f"qtype is {qtype}: here is QT_8bit (0); dotk.Index(d, metric, dtype=...) has "
                "'f16', 'bf16' and 'int8', without training"
            )
        super().__init__(d, metric)
        self.is_trained = False
        self.code_size = d
        self._least: _F32 = np.zeros(d, np.float32)
        self._width: _F32 = np.zeros(d, np.float32)

    def sa_code_size(self) -> int:
        return self.code_size

    def train(self, x: npt.NDArray[Any]) -> None:
        rows = _rows(x, self.d)
        if len(rows) == 0:
            raise RuntimeError("x has no rows: train on some of those that will be added")
        if not np.isfinite(rows).all():
            raise ValueError("x has a NaN or an infinity: train on numbers")
        self._least = rows.min(axis=0)
        self._width = rows.max(axis=0) - self._least
        self.is_trained = True

    def sa_encode(self, x: npt.NDArray[Any], codes: _U8 | None = None) -> _U8:
        """The codes of rows (n, d), uint8."""
        rows = _rows(x, self.d)
        self._need_training()
        if np.isnan(rows).any():
            raise ValueError("x has a NaN, which has no code")
        out = _result(codes, "codes", rows.shape, np.uint8)
        width = np.where(self._width == 0, np.float32(1), self._width)
        for i in range(0, len(rows), 4096):
            part = np.clip((rows[i : i + 4096] - self._least) / width, 0, 1)
            part[:, self._width == 0] = 0
            out[i : i + 4096] = np.float32(255) * part
        return out

    def sa_decode(self, codes: _U8, x: _F32 | None = None) -> _F32:
        """The rows (n, d) that codes stand for."""
        if codes.dtype != np.uint8:
            raise TypeError(f"codes are {codes.dtype}: give uint8")
        if codes.ndim != 2 or codes.shape[1] != self.d:
            raise AssertionError(f"codes have the shape {codes.shape}: give (rows, {self.d})")
        self._need_training()
        out = _result(x, "x", codes.shape, np.float32)
        for i in range(0, len(codes), 4096):
            place = (codes[i : i + 4096] + np.float32(0.5)) / np.float32(255)
            out[i : i + 4096] = self._least + place * self._width
        return out

    def _need_training(self) -> None:
        if not self.is_trained:
            raise RuntimeError("the index is not trained: call train() first")

    def _kept(self, rows: _F32) -> _F32:
        return self.sa_decode(self.sa_encode(rows))

    def _search(self, x: _F32, sel: IDSelector | None, D: _F32, I: _I64) -> None:
        self._need_training()
        super()._search(x, sel, D, I)

    def _range(self, x: _F32, limit: float, sel: IDSelector | None) -> tuple[_I64, _I64, _F32]:
        self._need_training()
        return super()._range(x, limit, sel)


class _Translated(IDSelector):
    """What a selector of ids says of positions."""

    def __init__(self, ids: _I64, sel: IDSelector) -> None:
        self._ids, self._sel = ids, sel

    def _members(self, ids: _I64) -> _Flags:
        return self._sel._members(self._ids[ids])

    def _below(self, n: int) -> _Flags:
        return self._sel._members(self._ids)


class IndexIDMap(Index):
    """An index, empty so far, whose rows get ids: any int64, even several times the same."""

    def __init__(self, index: IndexFlatCodes) -> None:
        if not isinstance(index, IndexFlatCodes):
            raise TypeError(f"index is {index!r}: give IndexFlat or IndexScalarQuantizer")
        if index.ntotal != 0:
            raise RuntimeError("index must be empty on input")
        self.index = index
        self.d, self.metric_type = index.d, index.metric_type
        self._map = _Numbers(np.empty(0, np.int64))

    @property
    def ntotal(self) -> int:
        return self.index.ntotal

    @property
    def is_trained(self) -> bool:  # type: ignore[override]
        return self.index.is_trained

    @property
    def id_map(self) -> _I64:
        """The ids of all rows, by position."""
        return self._map.all()

    def train(self, x: npt.NDArray[Any]) -> None:
        self.index.train(x)

    def add(self, x: npt.NDArray[Any]) -> None:
        raise RuntimeError(f"add makes no sense with {type(self).__name__}: use add_with_ids")

    def add_with_ids(self, x: npt.NDArray[Any], ids: npt.NDArray[Any]) -> None:
        rows = _rows(x, self.d)
        if ids.shape != rows.shape[:1]:
            raise AssertionError(
                f"not same nb of vectors as ids: {len(rows)} rows, ids of shape {ids.shape}"
            )
        numbers = np.array(ids, dtype=np.int64)  # may raise: before the rows are there
        self.index.add(rows)
        self._map.append(numbers)

    def remove_ids(self, x: IDSelector | npt.NDArray[Any]) -> int:
        ids = self.id_map
        gone = _to_remove(x)._members(ids)
        count = self.index._remove(gone)
        self._map = _Numbers(ids[~gone])
        return count

    def reset(self) -> None:
        self.index.reset()
        self._map = _Numbers(np.empty(0, np.int64))

    def reconstruct_batch(self, key: npt.ArrayLike, x: _F32 | None = None) -> _F32:
        raise RuntimeError("reconstruct not implemented for IndexIDMap: take IndexIDMap2")

    def reconstruct_n(self, n0: int = 0, ni: int = -1, x: _F32 | None = None) -> _F32:
        raise RuntimeError("reconstruct_n not implemented: use index.index.reconstruct_n()")

    def _positions(self, sel: IDSelector | None) -> IDSelector | None:
        return None if sel is None else _Translated(self.id_map, sel)

    def _search(self, x: _F32, sel: IDSelector | None, D: _F32, I: _I64) -> None:
        self.index._search(x, self._positions(sel), D, I)

    def _range(self, x: _F32, limit: float, sel: IDSelector | None) -> tuple[_I64, _I64, _F32]:
        return self.index._range(x, limit, self._positions(sel))

    def _translate(self, positions: _I64, found: Any) -> None:
        positions[found] = self.id_map[positions[found]]


class IndexIDMap2(IndexIDMap):
    """IndexIDMap that can also give rows back by their ids: of several, the one added last."""

    _places: dict[int, int] | None = None

    def add_with_ids(self, x: npt.NDArray[Any], ids: npt.NDArray[Any]) -> None:
        self._places = None
        super().add_with_ids(x, ids)

    def remove_ids(self, x: IDSelector | npt.NDArray[Any]) -> int:
        self._places = None
        return super().remove_ids(x)

    def reset(self) -> None:
        self._places = None
        super().reset()

    def reconstruct_batch(self, key: npt.ArrayLike, x: _F32 | None = None) -> _F32:
        if self._places is None:
            self._places = dict(zip(self.id_map.tolist(), range(self.ntotal)))
        try:
            positions = [self._places[id] for id in np.asarray(key, np.int64).tolist()]
        except KeyError as error:
            raise RuntimeError(f"key {error} not found") from None
        return self.index.reconstruct_batch(positions, x)
