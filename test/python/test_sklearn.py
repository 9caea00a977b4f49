"""dotk.NearestNeighbors: sklearn's own checks, and beside sklearn's NearestNeighbors."""

import copy
import gzip
import os
import pathlib
import pickle
import subprocess
import sys

import dotk
import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.neighbors import NearestNeighbors as Theirs
from sklearn.utils.estimator_checks import check_estimator

rng = np.random.default_rng(4)
METRICS = ["euclidean", "sqeuclidean", "cosine", "minkowski", "l2"]


def rows_of(source):
    if source == "mnist":
        folder = pathlib.Path(os.environ.get("DOTK_DATA") or "/nowhere", "mnist")
        if not folder.is_dir():
            pytest.skip("DOTK_DATA has no folder mnist")
        with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
            pixels = np.frombuffer(file.read(16 + 2000 * 784), np.uint8, offset=16)
        return pixels.reshape(2000, 784) / 255
    rows = rng.standard_normal((700, 9))
    if source == "float32":
        return rows.astype(np.float32)
    if source == "far away":  # float32 has steps of 0.5 there
        return rows + 5e6
    if source == "duplicates":
        rows[200:400] = rows[:200]
        rows[400:420] = 0
        rows[420:440] = rows[0]
    return rows


def pair(rows, **parameters):
    return dotk.NearestNeighbors(**parameters).fit(rows), Theirs(
        algorithm="brute", **parameters
    ).fit(rows)


def test_check_estimator():
    check_estimator(dotk.NearestNeighbors(), on_skip=None)
    check_estimator(dotk.NearestNeighbors(metric="cosine", n_jobs=2), on_skip=None)


def same_neighbours(mine, theirs, atol):
    """Equal distances; equal places where no neighbour is as far."""
    assert [a.dtype for a in mine] == [np.float64, np.int64]
    assert [a.shape for a in mine] == [a.shape for a in theirs]
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-6, atol=atol)
    gaps = np.diff(theirs[0], axis=1) > 1e-5
    none = np.zeros((len(gaps), 1), bool)
    clear = np.hstack([~none, gaps]) & np.hstack([gaps, none])
    assert (mine[1] == theirs[1])[clear].all()
    return clear.mean()


@pytest.mark.parametrize("source", ["float64", "float32", "far away", "duplicates", "mnist"])
@pytest.mark.parametrize("metric", METRICS)
def test_kneighbors(metric, source):
    rows = rows_of(source)
    # sklearn multiplies rows out, and rounds: by that much of squared lengths, and their root
    square = 1e-7 * (rows.astype(float) ** 2).sum(axis=1).max()
    atol = {"cosine": 1e-6 if source == "float32" else 1e-9, "sqeuclidean": square * 1e-6}.get(
        metric, (square * 1e-6) ** 0.5
    )
    mine, theirs = pair(rows, metric=metric, n_neighbors=7)
    if source == "far away":  # it is right to a few steps of float64 there, and sklearn is not
        theirs = Theirs(algorithm="ball_tree", metric="l2", n_neighbors=7).fit(rows)
        if metric in ("cosine", "sqeuclidean"):
            return
        atol = 1e-8
    for queries in (rows[:40], rows[:40] + 0.01, rows[:1]):
        for k in (1, 7, 30):
            same_neighbours(mine.kneighbors(queries, k), theirs.kneighbors(queries, k), atol)
    answers = mine.kneighbors(n_neighbors=6), theirs.kneighbors(n_neighbors=6)
    share = same_neighbours(*answers, atol)
    assert share > 0.5 or source in ("duplicates", "far away") or metric == "cosine"
    assert (mine.kneighbors(return_distance=False, n_neighbors=6) == answers[0][1]).all()
    assert (answers[0][1] != np.arange(len(rows))[:, None]).all() or source == "duplicates"


@pytest.mark.parametrize("source", ["float64", "float32", "duplicates", "mnist"])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_radius_neighbors(metric, source):
    rows = rows_of(source)
    mine, theirs = pair(rows, metric=metric)
    middle = float(np.median(theirs.kneighbors(rows[:30], 20)[0][:, -1]))
    for queries, radius in [(rows[:30], middle), (None, middle), (rows[:2], 0.0), (rows[:2], 1e30)]:
        answers = [e.radius_neighbors(queries, radius, sort_results=True) for e in (mine, theirs)]
        for (apart, found), (right_apart, right) in zip(zip(*answers[0]), zip(*answers[1])):
            assert (apart.dtype, found.dtype) == (np.float64, np.int64)
            inner, right_inner = apart < radius - 1e-6, right_apart < radius - 1e-6
            assert sorted(found[inner]) == sorted(right[right_inner])
            np.testing.assert_allclose(apart[inner], right_apart[right_inner], rtol=1e-6, atol=1e-6)
        alone = mine.radius_neighbors(queries, radius, return_distance=False)
        assert all((a == b).all() for a, b in zip(alone, answers[0][1]))


def test_the_radius_itself_is_within():
    rows = np.array([[0.0, 0], [0.1, 0], [0, 0.3], [0.7, 0]])
    for radius in (0.1, 0.3, 0.7):
        mine, theirs = pair(rows, radius=radius)
        found = mine.radius_neighbors(rows[:1], return_distance=False)
        right = theirs.radius_neighbors(rows[:1], return_distance=False)
        assert sorted(found[0]) == sorted(right[0])


def test_what_rounding_moves_is_within():
    """float32 has steps of 6e-5 here."""
    rows = rng.uniform(-1000, 1000, (200, 2))
    near = rows + [0.1, 0]
    mine = dotk.NearestNeighbors().fit(np.vstack([rows, near]))
    for i, apart in enumerate(np.sqrt((near - rows)[:, 0] ** 2)):
        assert 200 + i in mine.radius_neighbors(rows[i : i + 1], apart, return_distance=False)[0]


def test_rounding_hides_no_neighbour():
    """float32 has steps of 4 here, and of 2^-24 between cosines: many rows look equally far."""
    few = dotk.NearestNeighbors(n_neighbors=1).fit([[0], [1e8], [1e8 + 1], [1e8 + 2], [1e8 + 5]])
    assert few.kneighbors([[1e8 + 2], [1e8 + 4.5], [3]])[1].tolist() == [[3], [4], [0]]
    steps = rng.permutation(300)
    line = np.vstack([np.zeros((300, 1)), 1e8 + 0.25 * steps[:, None]])
    circle = np.column_stack([np.cos(1e-6 * steps), np.sin(1e-6 * steps)])
    for rows, metric in ((line, "euclidean"), (line, "sqeuclidean"), (circle, "cosine")):
        mine = dotk.NearestNeighbors(metric=metric).fit(rows)
        first = len(rows) - len(steps)
        for k in (1, 4, 40):
            distances, places = mine.kneighbors(rows[first:], k)
            apart = np.sort(np.abs(steps[:, None] - steps), axis=1)[:, :k]
            assert (np.abs(steps[places - first] - steps[:, None]) == apart).all(), metric
            if metric == "euclidean":
                assert (distances == 0.25 * apart).all()
        assert (mine.kneighbors(n_neighbors=1)[1][:, 0] != np.arange(len(rows))).all()


def test_numbers_too_small_for_float32():
    rows = 1e-23 * rng.permutation(60)[:, None]
    places = dotk.NearestNeighbors(n_neighbors=1).fit(rows).kneighbors(rows)[1]
    assert (places[:, 0] == np.arange(60)).all()


def test_graphs():
    rows = rows_of("float64")
    mine, theirs = pair(rows, n_neighbors=4, radius=1.5)
    for mode in ("connectivity", "distance"):
        for queries in (None, rows[:50]):
            for name in ("kneighbors_graph", "radius_neighbors_graph"):
                graph, right = (getattr(e, name)(queries, mode=mode) for e in (mine, theirs))
                assert type(graph) is type(right) and graph.dtype == right.dtype
                np.testing.assert_allclose(graph.toarray(), right.toarray(), atol=1e-7)
    with pytest.raises(ValueError, match="mode is 'weight'"):
        mine.kneighbors_graph(mode="weight")


def test_copies_answer_alike():
    mine = dotk.NearestNeighbors(n_neighbors=3).fit(rows_of("float64"))
    for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        for a, b in zip(mine.kneighbors(), twin.kneighbors()):
            assert (a == b).all()
    pickle.loads(pickle.dumps(dotk.NearestNeighbors()))


@pytest.mark.parametrize(
    "parameters, error, says",
    [
        ({"metric": "manhattan"}, ValueError, "metric is 'manhattan'.*choose from"),
        ({"p": 1}, ValueError, "p = 1.*choose from"),
        ({"metric_params": {"w": 1}}, ValueError, "metric_params is .*: give None"),
        ({"algorithm": "guess"}, ValueError, "algorithm is 'guess'"),
        ({"n_neighbors": 0}, ValueError, "n_neighbors is 0: give 1 or more"),
        ({"n_neighbors": 2.5}, TypeError, "n_neighbors is 2.5: give an integer"),
        ({"radius": -1}, ValueError, "radius is -1: give 0 or more"),
        ({"radius": float("nan")}, ValueError, "radius is nan"),
        ({"n_jobs": "all"}, TypeError, "n_jobs is 'all': give an integer"),
    ],
)
def test_refused(parameters, error, says):
    with pytest.raises(error, match=says):
        dotk.NearestNeighbors(**parameters).fit(np.eye(3))


def test_too_many_neighbours():
    for estimator in pair(np.eye(3), n_neighbors=3):
        assert estimator.kneighbors([[1, 0, 0]])[0].shape == (1, 3)
        with pytest.raises(ValueError, match="Expected n_neighbors < n_samples_fit, but"):
            estimator.kneighbors()
        with pytest.raises(ValueError, match="Expected n_neighbors <= n_samples_fit, but"):
            estimator.kneighbors([[1, 0, 0]], 4)
    with pytest.raises(ValueError, match="return_distance must be True if sort_results is True"):
        dotk.NearestNeighbors().fit(np.eye(3)).radius_neighbors(
            return_distance=False, sort_results=True
        )


def test_without_sklearn():
    assert "NearestNeighbors" in dir(dotk)
    for hidden in ("sklearn", "scipy"):
        code = f"import sys, dotk; sys.modules['{hidden}'] = None; dotk.NearestNeighbors"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "dotk.NearestNeighbors needs scikit-learn" in said.stderr


def test_dotk_alone_does_not_load_sklearn():
    code = "import sys, dotk; sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
