"""scikit-learn's NearestNeighbors, over dotk: `dotk.NearestNeighbors`, which needs scikit-learn 1.6.

It takes the parameters of sklearn.neighbors.NearestNeighbors, passes sklearn's check_estimator and
answers as that one does: every search there is exact as well. dotk finds in float32, of coordinates
less their mean, whatever may be a neighbour; who is one is then decided in float64 from the numbers
that fit() was given, which are kept beside dotk's copy (n * d * 4 bytes).
"""

from numbers import Integral, Real
from typing import Any, Literal, overload

import dotk
import numpy as np
import numpy.typing as npt
from scipy.sparse import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    csr_matrix,
)
from sklearn.base import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    BaseEstimator,
)
from sklearn.utils.validation import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    check_is_fitted,
    validate_data,
)

_F32 = npt.NDArray[np.float32]
_F64 = npt.NDArray[np.float64]
_I64 = npt.NDArray[np.int64]

_PAIR_VALUES = 1 << 20  # of pairs whose distances are worked out at a time
_SPARE = 8  # rows found beyond those asked for, among which rounding may hide a neighbour


class NearestNeighbors(BaseEstimator):  # type: ignore[misc,unused-ignore]
    """The nearest of a set of rows, as sklearn.neighbors.NearestNeighbors has it.

    metric: 'euclidean' (also 'l2' and 'minkowski', with p=2), 'sqeuclidean' or 'cosine'.
    algorithm, leaf_size: accepted and without effect: sklearn's answers are the same with each.
    n_jobs: how many threads; -1 for all, None for those of dotk.set_threads().

    >>> nearest = dotk.NearestNeighbors(n_neighbors=2).fit([[0, 0], [3, 4], [0, 1]])
    >>> nearest.kneighbors([[0, 0.25]])
    (array([[0.25, 0.75]]), array([[0, 2]]))
    """

    _index: dotk.Index
    _fit_X: npt.NDArray[Any]
    _mean: npt.NDArray[Any]
    _farthest: float

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        radius: float = 1.0,
        algorithm: str = "auto",
        leaf_size: int = 30,
        metric: str = "minkowski",
        p: float | None = 2,
        metric_params: dict[str, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.metric = metric
        self.p = p
        self.metric_params = metric_params
        self.n_jobs = n_jobs

    def fit(self, X: npt.ArrayLike, y: Any = None) -> "NearestNeighbors":
        """Takes the rows among which neighbours are looked for, (n, d).

        >>> dotk.NearestNeighbors().fit([[0, 0], [3, 4]]).n_samples_fit_
        2
        """
        self.effective_metric_ = self._checked_metric()
        _check_number("n_neighbors", self.n_neighbors, 1, Integral)
        _check_number("radius", self.radius, 0, Real)
        if self.n_jobs is not None:
            _check_number("n_jobs", self.n_jobs, None, Integral)
        self._fit_X = validate_data(self, X, dtype=[np.float64, np.float32], order="C")
        self.n_samples_fit_ = self._fit_X.shape[0]
        self._build()
        return self

    @overload
    def kneighbors(
        self,
        X: npt.ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: Literal[True] = True,
    ) -> tuple[_F64, _I64]: ...
    @overload
    def kneighbors(
        self,
        X: npt.ArrayLike | None = None,
        n_neighbors: int | None = None,
        *,
        return_distance: Literal[False],
    ) -> _I64: ...
    def kneighbors(
        self,
        X: npt.ArrayLike | None = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
    ) -> tuple[_F64, _I64] | _I64:
        """The nearest rows of each query (m, d): distances and places, each (m, n_neighbors), float64
        and int64.

        Without X, those of each row that was fitted, itself left out.

        >>> nearest = dotk.NearestNeighbors().fit([[0, 0], [3, 4], [0, 1]])
        >>> nearest.kneighbors(n_neighbors=1, return_distance=False)
        array([[2],
               [2],
               [0]])
        """
        check_is_fitted(self)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        _check_number("n_neighbors", k, 1, Integral)
        queries = self._queries(X)
        m, extra = len(queries), int(X is None)
        if k + extra > self.n_samples_fit_:
            raise ValueError(
                f"Expected n_neighbors {'<' if extra else '<='} n_samples_fit, but n_neighbors = "
                f"{k}, n_samples_fit = {self.n_samples_fit_}, n_samples = {m}"
            )
        distances, places = self._nearest(queries, int(k) + extra)
        if extra:
            stay = places != np.arange(m)[:, None]
            stay[stay.all(axis=1), 0] = False  # more duplicates than neighbours
            distances, places = distances[stay].reshape(m, k), places[stay].reshape(m, k)
        return (distances, places) if return_distance else places

    def radius_neighbors(
        self,
        X: npt.ArrayLike | None = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> Any:
        """All rows within the radius of each query (m, d): distances and places, m arrays each.

        Without X, those of each row that was fitted, itself left out. Nearest come first, whether
        or not sort_results says so.

        >>> nearest = dotk.NearestNeighbors(radius=1.5).fit([[0, 0], [3, 4], [0, 1]])
        >>> nearest.radius_neighbors([[0, 0]], return_distance=False)
        array([array([0, 2])], dtype=object)
        """
        check_is_fitted(self)
        if sort_results and not return_distance:
            raise ValueError("return_distance must be True if sort_results is True.")
        starts, distances, places = self._within(X, self.radius if radius is None else radius)
        found = np.empty(len(starts) - 1, object)
        apart = np.empty_like(found)
        for i in range(len(found)):
            found[i] = places[starts[i] : starts[i + 1]]
            apart[i] = distances[starts[i] : starts[i + 1]]
        return (apart, found) if return_distance else found

    def kneighbors_graph(
        self,
        X: npt.ArrayLike | None = None,
        n_neighbors: int | None = None,
        mode: str = "connectivity",
    ) -> Any:
        """kneighbors() as a scipy.sparse.csr_matrix (m, n) of ones, or with mode='distance' of
        distances.

        >>> nearest = dotk.NearestNeighbors(n_neighbors=1).fit([[0, 0], [3, 4], [0, 1]])
        >>> nearest.kneighbors_graph().toarray()
        array([[0., 0., 1.],
               [0., 0., 1.],
               [1., 0., 0.]])
        """
        _check_mode(mode)
        distances, places = self.kneighbors(X, n_neighbors)
        starts = np.arange(0, places.size + 1, places.shape[1])
        return self._graph(mode, starts, distances.ravel(), places.ravel())

    def radius_neighbors_graph(
        self,
        X: npt.ArrayLike | None = None,
        radius: float | None = None,
        mode: str = "connectivity",
        sort_results: bool = False,
    ) -> Any:
        """radius_neighbors() as a scipy.sparse.csr_matrix (m, n), as kneighbors_graph() is.

        >>> nearest = dotk.NearestNeighbors(radius=1.5).fit([[0, 0], [3, 4], [0, 1]])
        >>> nearest.radius_neighbors_graph(mode="distance").toarray()
        array([[0., 0., 1.],
               [0., 0., 0.],
               [1., 0., 0.]])
        """
        check_is_fitted(self)
        _check_mode(mode)
        within = self._within(X, self.radius if radius is None else radius)
        return self._graph(mode, *within)

    # ----------------------------------------------------------------------
    # Pickles have the rows and not the index, which is made again
    # ----------------------------------------------------------------------

    def __getstate__(self) -> Any:
        state = dict(super().__getstate__())
        state.pop("_index", None)
        return state

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        if "_fit_X" in state:
            self._build()

    # ----------------------------------------------------------------------

    def _checked_metric(self) -> str:
        if self.algorithm not in ("auto", "brute", "kd_tree", "ball_tree"):
            raise ValueError(
                f"algorithm is {self.algorithm!r}: 'auto', 'brute', 'kd_tree' and 'ball_tree' are "
                "accepted"
            )
        if self.metric_params is not None:
            raise ValueError(f"metric_params is {self.metric_params!r}: give None")
        if self.metric in ("sqeuclidean", "cosine"):
            return self.metric
        if self.metric in ("euclidean", "l2") or (self.metric == "minkowski" and self.p == 2):
            return "euclidean"
        raise ValueError(
            f"metric is {self.metric!r} (p = {self.p!r}): choose from 'euclidean', 'l2', "
            "'minkowski' with p=2, 'sqeuclidean' and 'cosine'"
        )

    def _build(self) -> None:
        context = None
        if self.n_jobs is not None:
            context = dotk.Context(max(int(self.n_jobs), 0))
        name: Literal["dot", "l2"] = "dot" if self.effective_metric_ == "cosine" else "l2"
        self._mean = self._fit_X.mean(axis=0, dtype=np.float64)
        rows = self._prepared(self._fit_X)
        self._farthest = float(dotk.norm(rows).max())
        self._index = dotk.Index(rows.shape[1], name, context=context)
        self._index.add(rows)

    def _queries(self, X: npt.ArrayLike | None) -> npt.NDArray[Any]:
        if X is None:
            return self._fit_X
        queries: npt.NDArray[Any] = validate_data(
            self, X, dtype=[np.float64, np.float32], order="C", reset=False
        )
        return queries

    def _prepared(self, rows: npt.NDArray[Any]) -> _F32:
        """What dotk searches: rows of length 1 or 0 for cosines, else rows less the mean."""
        if self.effective_metric_ == "cosine":
            prepared: _F32 = _unit(rows.astype(np.float64)).astype(np.float32)
        else:
            prepared = (rows - self._mean).astype(np.float32)
        return prepared

    def _distances(self, queries: npt.NDArray[Any], which: _I64, places: _I64) -> _F64:
        """Of queries[which[i]] and row places[i], for each i."""
        distances = np.empty(len(places))
        step = max(1, _PAIR_VALUES // queries.shape[1])
        for i in range(0, len(places), step):
            part = slice(i, i + step)
            a = queries[which[part]].astype(np.float64)
            b = self._fit_X[places[part]].astype(np.float64)
            if self.effective_metric_ == "cosine":
                cosines = np.einsum("ij,ij->i", _unit(a), _unit(b))
                distances[part] = np.clip(1 - cosines, 0, 2)
            else:
                distances[part] = np.einsum("ij,ij->i", a - b, a - b)
        return np.sqrt(distances) if self.effective_metric_ == "euclidean" else distances

    def _nearest(self, queries: npt.NDArray[Any], k: int) -> tuple[_F64, _I64]:
        """The k nearest rows of each query, of equally far ones those fitted first.

        The k that float32 says are nearest bound how far the k nearest are. Rows that rounding may
        have put behind them are looked at in float64 too: mostly they are among _SPARE more, and
        where they may be beyond, the query asks for all within that bound.
        """
        prepared = self._prepared(queries)
        m, wide = len(queries), min(k + _SPARE, self.n_samples_fit_)
        places, scores = self._index.search(prepared, wide)
        distances = np.full((m, wide), np.inf)
        first = self._distances(queries, np.repeat(np.arange(m), k), places[:, :k].ravel())
        distances[:, :k] = first.reshape(m, k)
        limits = self._limits(distances[:, :k].max(axis=1), dotk.norm(prepared))
        if self.effective_metric_ == "cosine":
            near = scores >= limits[:, None]
        else:
            near = scores <= limits[:, None]
        beyond = near[:, -1] if wide < self.n_samples_fit_ else np.zeros(m, bool)
        near[:, :k] = False
        distances[near] = self._distances(queries, np.nonzero(near)[0], places[near])
        order = np.lexsort((places, distances), axis=1)[:, :k]
        distances = np.take_along_axis(distances, order, axis=1)
        places = np.take_along_axis(places, order, axis=1)
        for i in np.flatnonzero(beyond):
            found = self._index.range(prepared[i : i + 1], float(limits[i]))[1]
            apart = self._distances(queries[i : i + 1], np.zeros(len(found), np.int64), found)
            order = np.lexsort((found, apart))[:k]
            distances[i], places[i] = apart[order], found[order]
        return distances, places

    def _limits(self, radius: Any, lengths: Any) -> Any:
        """The float32 scores that cover this radius around a prepared query of this length.

        A sum of d products errs by d * 2^-24 of it, a coordinate by 2^-24, and what is too small
        for float32 becomes 0.
        """
        slack = (self._fit_X.shape[1] + 4) * 2.0**-23
        if self.effective_metric_ == "cosine":
            return 1 - radius - slack
        reach = radius if self.effective_metric_ == "euclidean" else radius**0.5
        reach = reach + (self._farthest + np.asarray(lengths, np.float64)) * 2.0**-23
        with np.errstate(over="ignore"):
            limits = reach**2 * (1 + slack) + slack * float(np.finfo(np.float32).tiny)
        return np.minimum(limits, float(np.finfo(np.float32).max))

    def _within(self, X: npt.ArrayLike | None, radius: float) -> tuple[_I64, _F64, _I64]:
        """All pairs within the radius: where each query's begin, distances, places.

        What rounding to float32 may have moved across the radius is asked for as well, and then
        decided in float64.
        """
        _check_number("radius", radius, 0, Real)
        queries = self._queries(X)
        prepared = self._prepared(queries)
        m = len(prepared)
        limit = float(self._limits(radius, dotk.norm(prepared).max()))
        starts, places, _ = self._index.range(prepared, limit)
        which = np.repeat(np.arange(m), np.diff(starts))
        distances = self._distances(queries, which, places)
        stay = distances <= radius
        if X is None:
            stay &= places != which
        which, places, distances = which[stay], places[stay], distances[stay]
        order = np.lexsort((places, distances, which))
        starts = np.concatenate([[0], np.cumsum(np.bincount(which, minlength=m))])
        return starts, distances[order], places[order]

    def _graph(self, mode: str, starts: _I64, distances: _F64, places: _I64) -> Any:
        values = distances if mode == "distance" else np.ones(len(places))
        return csr_matrix((values, places, starts), shape=(len(starts) - 1, self.n_samples_fit_))


def _unit(rows: _F64) -> _F64:
    """Rows of length 1; those of zeros stay so."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: _F64 = rows / lengths
    return unit


def _check_number(name: str, value: Any, least: int | None, kind: type) -> None:
    if not isinstance(value, kind):
        noun = "an integer" if kind is Integral else "a number"
        raise TypeError(f"{name} is {value!r}: give {noun}")
    if least is not None and not value >= least:  # type: ignore[operator]
        raise ValueError(f"{name} is {value}: give {least} or more")


def _check_mode(mode: str) -> None:
    if mode not in ("connectivity", "distance"):
        raise ValueError(f"mode is {mode!r}: choose from 'connectivity' and 'distance'")
