"""dotk.compat.faiss beside faiss itself, where faiss is installed; and what it does by itself."""

import gzip
import os
import pathlib

import dotk.compat.faiss as ours
import numpy as np
import pytest

rng = np.random.default_rng(3)


@pytest.fixture(scope="module")
def faiss():
    return pytest.importorskip("faiss", reason="faiss-cpu is not installed")


def random_rows(n=2000, d=33):
    return rng.standard_normal((n, d), dtype=np.float32)


def mnist_rows(n=5000):
    folder = pathlib.Path(os.environ.get("DOTK_DATA") or "/nowhere", "mnist")
    if not folder.is_dir():
        pytest.skip("DOTK_DATA has no folder mnist")
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + n * 784), np.uint8, offset=16)
    return (pixels.reshape(n, 784) / np.float32(255)).astype(np.float32)


DATA = {"random": random_rows, "mnist": mnist_rows}
FLAT = ["IndexFlatL2", "IndexFlatIP"]
KINDS = [*FLAT, "SQ8 L2", "SQ8 IP", "IDMap", "IDMap2"]


def make(library, kind, d):
    if kind.startswith("SQ8"):
        metric = library.METRIC_L2 if kind.endswith("L2") else library.METRIC_INNER_PRODUCT
        return library.IndexScalarQuantizer(d, library.ScalarQuantizer.QT_8bit, metric)
    if kind.startswith("IDMap"):
        return getattr(library, "Index" + kind)(library.IndexFlatL2(d))
    return getattr(library, kind)(d)


def filled(library, kind, rows):
    """An index with these rows; ids, if it has any, are 7 times the position less 70."""
    index = make(library, kind, rows.shape[1])
    index.train(rows)
    if kind.startswith("IDMap"):
        index.add_with_ids(rows, 7 * np.arange(len(rows)) - 70)
    else:
        index.add(rows)
    return index


def tolerances(l2, queries, length):
    """How far scores may be apart: 1e-5 of |q| |k|, for l2 of |q|^2 + |k|^2."""
    q = np.linalg.norm(queries.astype(float), axis=1)[:, None]
    return 1e-5 * (q**2 + length**2 if l2 else q * length)


def agree(l2, queries, longest, answer, right):
    """The same scores, paddings, and ids where no neighbour's score is as near as that."""
    D, I = answer
    assert (D.dtype, I.dtype, D.shape, I.shape) == (
        *(a.dtype for a in right),
        *[a.shape for a in right],
    )
    near = tolerances(l2, queries, longest)
    lacks = right[1] == -1
    assert ((I == -1) == lacks).all()
    assert (D[lacks] == right[0][lacks]).all()
    assert (np.abs(D.astype(float) - right[0]) <= near)[~lacks].all()
    gaps = np.abs(np.diff(right[0].astype(float), axis=1)) > 2 * near
    n = len(queries)
    above = np.hstack([np.ones((n, 1), bool), gaps])
    below = np.hstack([gaps, np.zeros((n, 1), bool)])  # what would come next is not known
    clear = above & below
    assert (I == right[1])[clear].all()
    return clear.sum()


def longest_of(rows):
    return np.linalg.norm(rows.astype(float), axis=1).max()


def is_l2(kind):
    return not kind.endswith("IP")


@pytest.mark.parametrize("source", DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_search(faiss, kind, source):
    rows = DATA[source]()
    queries, rows = rows[:60], rows[60:]
    mine, theirs = filled(ours, kind, rows), filled(faiss, kind, rows)
    for attribute in ("ntotal", "d", "is_trained", "metric_type"):
        assert getattr(mine, attribute) == getattr(theirs, attribute)
    for n, k in [(1, 1), (1, 12), (60, 11), (3, len(rows) + 5), (0, 3)]:
        asked = queries[:n]
        clear = agree(
            is_l2(kind), asked, longest_of(rows), mine.search(asked, k), theirs.search(asked, k)
        )
        assert n < 60 or clear > 0.8 * n * k
        agree(
            is_l2(kind), asked, longest_of(rows), ours_D_I(mine, asked, k), theirs.search(asked, k)
        )
    assert (mine.assign(queries, 4) == mine.search(queries, 4)[1]).all()


def ours_D_I(index, queries, k):
    """search() that writes to the caller's arrays."""
    D, I = np.zeros((len(queries), k), np.float32), np.zeros((len(queries), k), np.int64)
    found = index.search(queries, k, D=D, I=I)
    assert found[0] is D and found[1] is I
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_empty(faiss, kind):
    rows = random_rows(10)
    mine, theirs = make(ours, kind, 33), make(faiss, kind, 33)
    for index in (mine, theirs):
        index.train(rows)
    agree(is_l2(kind), rows, 0, mine.search(rows, 3), theirs.search(rows, 3))
    for answer, right in zip(mine.range_search(rows, 1), theirs.range_search(rows, 1)):
        assert answer.dtype == right.dtype and (answer == right).all()


def test_inputs_of_other_kinds(faiss):
    rows = rng.integers(-9, 9, (50, 6))
    for given in (
        rows,
        rows.astype(float),
        np.asfortranarray(rows.astype(np.float32)),
        rows.astype(np.float32)[::-1],
        rows.astype(np.float16)[:, ::2],
        np.broadcast_to(rows[0], (5, 6)),
    ):
        mine, theirs = (filled(l, "IndexFlatIP", given) for l in (ours, faiss))
        for answer, right in zip(mine.search(given, 1), theirs.search(given, 1)):
            assert answer.dtype == right.dtype and answer.shape == right.shape
        assert (mine.search(given, 3)[0] == theirs.search(given, 3)[0]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_life(faiss, kind):
    """Rows come and go; positions move up where ids do not stay."""
    d = 8
    both = mine, theirs = make(ours, kind, d), make(faiss, kind, d)
    train = random_rows(100, d)
    for index in both:
        index.train(train)
    seen = 6.0  # lengths
    for step in range(60):
        rows = random_rows(int(rng.integers(0, 40)), d)
        ids = rng.integers(0, 200, len(rows)).astype(rng.choice(["i4", "i8"]))
        ids[ids > 190] = -5  # even that, and the same id several times
        for index in both:
            if kind.startswith("IDMap"):
                index.add_with_ids(rows, ids)
            else:
                index.add(rows)
        gone = rng.integers(-3, mine.ntotal + 10, int(rng.integers(0, 25)))
        if step % 5 == 4:
            low = int(rng.integers(0, 50))
            removed = [
                i.remove_ids(l.IDSelectorRange(low, low + 20)) for i, l in zip(both, (ours, faiss))
            ]
        else:
            removed = [index.remove_ids(gone) for index in both]
        assert removed[0] == removed[1]
        assert mine.ntotal == theirs.ntotal
        if step == 40:
            for index in both:
                index.reset()
        if step % 3 == 0:
            asked = random_rows(4, d)
            agree(is_l2(kind), asked, seen, mine.search(asked, 9), theirs.search(asked, 9))
            chosen = rng.integers(0, 200, 60)
            answers = [
                index.search(
                    asked, 9, params=library.SearchParameters(sel=library.IDSelectorBatch(chosen))
                )
                for index, library in zip(both, (ours, faiss))
            ]
            agree(is_l2(kind), asked, seen, *answers)
            in_range(
                is_l2(kind), asked, seen, 6.0, *(index.range_search(asked, 6.0) for index in both)
            )
    if not kind.startswith("IDMap"):
        np.testing.assert_allclose(
            mine.reconstruct_n(), theirs.reconstruct_n(), rtol=1e-6, atol=1e-6
        )


def in_range(l2, queries, longest, limit, answer, right):
    """The same rows, but for those at the limit, in the order of positions."""
    for a, b in zip(answer, right):
        assert a.dtype == b.dtype
    near = tolerances(l2, queries, longest)[:, 0]
    for i in range(len(queries)):
        mine, theirs = (
            [
                (int(id), float(d))
                for d, id in zip(D[lims[i] : lims[i + 1]], I[lims[i] : lims[i + 1]])
            ]
            for lims, D, I in (
                [a.astype(np.int64) if a.dtype == np.uint64 else a for a in x]
                for x in (answer, right)
            )
        )
        clear = [
            [(id, d) for id, d in found if abs(d - limit) > near[i]] for found in (mine, theirs)
        ]
        assert [id for id, _ in clear[0]] == [id for id, _ in clear[1]]
        assert all(abs(a - b) <= near[i] for (_, a), (_, b) in zip(*clear))
    assert answer[0][0] == 0 and len(answer[1]) == len(answer[2]) == answer[0][-1]


@pytest.mark.parametrize("source", DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_range_search(faiss, kind, source):
    rows = DATA[source]()
    queries, rows = rows[:9], rows[9:]
    mine, theirs = filled(ours, kind, rows), filled(faiss, kind, rows)
    middle = float(np.median(mine.search(queries, 50)[0][:, -1]))
    for limit in (middle, -1e9, 1e9, 1e30):
        in_range(
            is_l2(kind),
            queries,
            longest_of(rows),
            limit,
            *(i.range_search(queries, limit) for i in (mine, theirs)),
        )


def test_range_search_is_open(faiss):
    """A row just at the limit is not in it."""
    rows = np.array([[0, 3], [1, 0], [0, 2]], np.float32)
    for kind, limit in [("IndexFlatL2", 4.0), ("IndexFlatIP", 2.0)]:
        found = [
            filled(library, kind, rows).range_search(
                rows[2:] if kind.endswith("IP") else rows[:1] * 0, limit
            )
            for library in (ours, faiss)
        ]
        for answer, right in zip(*found):
            assert (answer == right).all()


SELECTORS = {
    "batch": lambda f: f.IDSelectorBatch([5, 3, 3, 10**9, -70, 700]),
    "none": lambda f: f.IDSelectorBatch([]),
    # faiss reads beyond its rows where an array has ids that are not there.
    "array": lambda f: f.IDSelectorArray(np.array([630, 35, 4], np.int32)),
    "range": lambda f: f.IDSelectorRange(35, 711),
    "bitmap": lambda f: f.IDSelectorBitmap(np.arange(200, dtype=np.uint8)),
    "long bitmap": lambda f: f.IDSelectorBitmap(np.full(5000, 0x41, np.uint8)),
    "all": lambda f: f.IDSelectorAll(),
    "not": lambda f: f.IDSelectorNot(f.IDSelectorRange(35, 711)),
    "and": lambda f: f.IDSelectorAnd(f.IDSelectorRange(35, 711), f.IDSelectorBatch([35, 70, 900])),
    "or": lambda f: f.IDSelectorOr(f.IDSelectorRange(35, 49), f.IDSelectorBatch([35, 70, 900])),
    "xor": lambda f: f.IDSelectorXOr(f.IDSelectorRange(35, 711), f.IDSelectorBatch([35, 70, 900])),
}


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("kind", ["IndexFlatL2", "IDMap", "SQ8 IP"])
def test_selectors(faiss, kind, selector):
    rows = random_rows(900)
    queries = random_rows(5)
    both = ours, faiss
    indexes = [filled(library, kind, rows) for library in both]
    params = [l.SearchParameters(sel=SELECTORS[selector](l)) for l in both]
    for id in (-70, -1, 0, 3, 35, 42, 700, 711, 10**9):
        assert params[0].sel.is_member(id) == params[1].sel.is_member(id)
    for turn in range(2):
        answers = [i.search(queries, 20, params=p) for i, p in zip(indexes, params)]
        agree(is_l2(kind), queries, longest_of(rows), *answers)
        limit = 20.0 if is_l2(kind) else 3.0
        found = [i.range_search(queries, limit, params=p) for i, p in zip(indexes, params)]
        in_range(is_l2(kind), queries, longest_of(rows), limit, *found)
        removed = [i.remove_ids(np.arange(100, 300)) for i in indexes]  # and once more, with gaps
        assert removed[0] == removed[1]
    removed = [i.remove_ids(p.sel) for i, p in zip(indexes, params)]
    assert removed[0] == removed[1] and indexes[0].ntotal == indexes[1].ntotal
    answers = [i.search(queries, 20) for i in indexes]
    agree(is_l2(kind), queries, longest_of(rows), *answers)


def test_search_parameters():
    params = ours.SearchParameters()
    params.sel = ours.IDSelectorRange(1, 2)
    index = filled(ours, "IndexFlatIP", random_rows(4))
    assert index.search(random_rows(1), 2, params=params)[1].tolist() == [[1, -1]]
    with pytest.raises(TypeError, match="sel is 3: give an IDSelector"):
        ours.SearchParameters(sel=3)
    with pytest.raises(TypeError, match="params is .*: give SearchParameters"):
        index.search(random_rows(1), 2, params=ours.IDSelectorAll())


def test_a_bitmap_is_borrowed():
    bitmap = np.array([1], np.uint8)
    params = ours.SearchParameters(sel=ours.IDSelectorBitmap(bitmap))
    index = filled(ours, "IndexFlatIP", random_rows(4))
    assert index.search(random_rows(1), 1, params=params)[1] == 0
    bitmap[0] = 4
    assert index.search(random_rows(1), 1, params=params)[1] == 2


@pytest.mark.parametrize("metric", ["METRIC_L2", "METRIC_INNER_PRODUCT"])
def test_knn(faiss, metric):
    rows = random_rows(500)
    for queries, base, k in [
        (rows[:70], rows, 9),
        (rows[:3], rows[:4], 6),
        (rows[:2], rows[:0], 2),
        (rows[:0], rows, 2),
        (rows[:3], rows, 0),
    ]:
        answers = [l.knn(queries, base, k, metric=getattr(l, metric)) for l in (ours, faiss)]
        if k:
            agree(metric == "METRIC_L2", queries, longest_of(rows), *answers)
        else:
            assert [a.shape for a in answers[0]] == [a.shape for a in answers[1]]
    assert (
        ours.knn(rows[:5], rows, 3)[1] == ours.knn(rows[:5].tolist(), rows.astype(float), 3)[1]
    ).all()


def test_normalize(faiss):
    rows = np.vstack([random_rows(300) * 1e6, np.zeros((1, 33), np.float32), random_rows(1) * 1e-6])
    mine, theirs = rows.copy(), rows.copy()
    assert ours.normalize_L2(mine) is None
    faiss.normalize_L2(theirs)
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    assert (mine[300] == 0).all()
    empty = np.empty((0, 3), np.float32)
    ours.normalize_L2(empty)
    for wrong, error in [
        (rows.astype(float), TypeError),
        (rows[:, ::2], ValueError),
        (rows[0], IndexError),
    ]:
        for library in (ours, faiss):
            with pytest.raises(error):
                library.normalize_L2(wrong)


def test_rows_come_back(faiss):
    rows = random_rows(50)
    for kind in KINDS:
        if kind == "IDMap":  # faiss has none here
            continue
        pair = mine, theirs = filled(ours, kind, rows), filled(faiss, kind, rows)
        ids = [3, 41, 3] if not kind == "IDMap2" else [-70, 7, 0]
        calls = [lambda i: i.reconstruct(ids[1]), lambda i: i.reconstruct_batch(ids)]
        if not kind == "IDMap2":  # faiss ends the process
            calls += [
                lambda i: i.reconstruct_n(),
                lambda i: i.reconstruct_n(5),
                lambda i: i.reconstruct_n(5, 7),
                lambda i: i.reconstruct_n(50, 0),
            ]
        for call in calls:
            answer, right = (call(i) for i in pair)
            assert answer.shape == right.shape and answer.dtype == right.dtype
            np.testing.assert_allclose(answer, right, rtol=1e-6, atol=1e-6)
        out = np.empty(33, np.float32)
        assert mine.reconstruct(ids[0], out) is out and (out == mine.reconstruct(ids[0])).all()
        answer, right = (i.search_and_reconstruct(rows[:4], 53) for i in pair)
        agree(is_l2(kind), rows[:4], longest_of(rows), answer[:2], right[:2])
        assert answer[2].shape == right[2].shape == (4, 53, 33)
        assert np.isnan(answer[2][:, 50:]).all() and np.isnan(right[2][:, 50:]).all()
        for wrong in (
            lambda i: i.reconstruct(5000),
            lambda i: i.reconstruct_batch([3, 5000]),
            lambda i: i.reconstruct_n(49, 2),
        ):
            for index in pair if not kind == "IDMap2" else pair[:1]:
                with pytest.raises(RuntimeError):
                    wrong(index)


def test_codes(faiss):
    rows = random_rows(400)
    rows[:, 5] = 2.5
    wide = rows * 1.5
    mine, theirs = filled(ours, "SQ8 L2", rows), filled(faiss, "SQ8 L2", rows)
    assert mine.sa_code_size() == mine.code_size == theirs.sa_code_size()
    codes = mine.sa_encode(wide)
    assert codes.dtype == np.uint8 and (codes == theirs.sa_encode(wide)).all()
    np.testing.assert_allclose(mine.sa_decode(codes), theirs.sa_decode(codes), rtol=1e-6, atol=1e-6)
    out = np.empty_like(codes)
    assert mine.sa_encode(wide, out) is out
    with pytest.raises(TypeError, match="codes are int64: give uint8"):
        mine.sa_decode(codes.astype(int))


WRONG = {
    "an axis": (lambda f, i, x: i.search(x[0], 1), ValueError),
    "width": (lambda f, i, x: i.search(x[:, :2], 1), AssertionError),
    "a list": (lambda f, i, x: i.search(x.tolist(), 1), AttributeError),
    "k 0": (lambda f, i, x: i.search(x, 0), AssertionError),
    "k -1": (lambda f, i, x: i.search(x, -1), AssertionError),
    "k 2.0": (lambda f, i, x: i.search(x, 2.0), TypeError),
    "D": (lambda f, i, x: i.search(x, 2, D=np.empty((1, 2), np.float32)), AssertionError),
    "I": (lambda f, i, x: i.search(x, 2, I=np.empty((4, 3), np.int64)), AssertionError),
    "type of D": (lambda f, i, x: i.search(x, 2, D=np.empty((4, 2))), TypeError),
    "add an axis": (lambda f, i, x: i.add(x[0]), ValueError),
    "add width": (lambda f, i, x: i.add(x[:, :2]), AssertionError),
    "train width": (lambda f, i, x: i.train(x[:, :2]), AssertionError),
    "ids to a flat one": (lambda f, i, x: i.add_with_ids(x, np.arange(4)), RuntimeError),
    "remove a list": (lambda f, i, x: i.remove_ids([1]), AttributeError),
    "remove two axes": (lambda f, i, x: i.remove_ids(np.array([[1]])), AssertionError),
    "knn width": (lambda f, i, x: f.knn(x[:, :2], x, 1), AssertionError),
    "knn an axis": (lambda f, i, x: f.knn(x[0], x, 1), ValueError),
    "knn k": (lambda f, i, x: f.knn(x, x, -1), ValueError),
    "no code": (lambda f, i, x: f.IndexScalarQuantizer(3), TypeError),
    "untrained": (lambda f, i, x: f.IndexScalarQuantizer(3, 0).add(x), RuntimeError),
    "untrained search": (lambda f, i, x: f.IndexScalarQuantizer(3, 0).search(x, 1), RuntimeError),
    "train on nothing": (lambda f, i, x: f.IndexScalarQuantizer(3, 0).train(x[:0]), RuntimeError),
    "add to a map": (lambda f, i, x: f.IndexIDMap(f.IndexFlatL2(3)).add(x), RuntimeError),
    "few ids": (
        lambda f, i, x: f.IndexIDMap(f.IndexFlatL2(3)).add_with_ids(x, np.arange(3)),
        AssertionError,
    ),
    "list of ids": (
        lambda f, i, x: f.IndexIDMap(f.IndexFlatL2(3)).add_with_ids(x, [1, 2, 3, 4]),
        AttributeError,
    ),
    "map of rows": (lambda f, i, x: f.IndexIDMap(i), RuntimeError),
    "map of 3": (lambda f, i, x: f.IndexIDMap(3), TypeError),
    "bits": (lambda f, i, x: f.IDSelectorBitmap(np.array([True])), TypeError),
    "list of bits": (lambda f, i, x: f.IDSelectorBitmap([1]), ValueError),
}


@pytest.mark.parametrize("kind", ["IDMap", "IDMap2"])
def test_wrong_ids_add_nothing(kind):
    rows = random_rows(4, 3)
    index = make(ours, kind, 3)
    with pytest.raises(ValueError):
        index.add_with_ids(rows, np.array(["a", "b", "c", "d"]))
    assert (index.ntotal, index.index.ntotal, len(index.id_map)) == (0, 0, 0)
    index.add_with_ids(rows, np.array([5, 6, 7, 8]))
    assert (index.search(rows, 1)[1][:, 0] == [5, 6, 7, 8]).all()


def test_names_that_are_absent():
    for name, says in (("Kmeans", "KMeans"), ("clone_index", "reconstruct_n"), ("ivf", "__all__")):
        assert not hasattr(ours, name)
        with pytest.raises(AttributeError, match=f"no attribute '{name}': .*{says}"):
            getattr(ours, name)


@pytest.mark.parametrize("what", WRONG)
def test_wrong_arguments(what, request):
    """The exception is of faiss' type."""
    call, error = WRONG[what]
    rows = np.ones((4, 3), np.float32)
    with pytest.raises(error):
        call(ours, filled(ours, "IndexFlatL2", rows), rows)
    faiss = request.getfixturevalue("faiss")
    with pytest.raises(error):
        call(faiss, filled(faiss, "IndexFlatL2", rows), rows)


def test_what_is_refused():
    rows = np.ones((3, 2), np.float32)
    rows[1, 0] = np.nan
    for kind in KINDS:
        with pytest.raises(ValueError, match="not finite|NaN"):
            filled(ours, kind, rows)
    index = filled(ours, "SQ8 L2", rows[:1])
    with pytest.raises(ValueError, match="NaN"):
        index.add(rows)
    assert index.ntotal == 1


@pytest.mark.parametrize(
    "name",
    [
        "IVFFlat",
        "IVFPQ",
        "IVFScalarQuantizer",
        "HNSWFlat",
        "HNSWSQ",
        "HNSWPQ",
        "PQ",
        "LSH",
        "NSGFlat",
        "RefineFlat",
        "PreTransform",
        "Shards",
        "Replicas",
    ],
)
def test_absent(name):
    with pytest.raises(
        NotImplementedError, match=f"Index{name} is not in dotk: .*(Flat|Scalar|merge|threads)"
    ):
        getattr(ours, "Index" + name)(8, 32)


def test_other_absences():
    for call in (
        lambda: ours.IndexFlat(3, ours.METRIC_L1),
        lambda: ours.IndexScalarQuantizer(3, ours.ScalarQuantizer.QT_4bit),
        lambda: ours.read_index("x"),
        lambda: ours.write_index(ours.IndexFlatL2(3), "x"),
        lambda: ours.index_factory(3, "HNSW32"),
        lambda: ours.knn(np.ones((1, 3)), np.ones((1, 3)), 1, ours.METRIC_Linf),
    ):
        with pytest.raises(NotImplementedError):
            call()


def test_factory(faiss):
    for words in ("Flat", "SQ8", "IDMap,Flat", "IDMap2,SQ8"):
        for library in (ours, faiss):
            made = library.index_factory(5, words, library.METRIC_INNER_PRODUCT)
            assert type(made).__name__.startswith("Index") and made.metric_type == 0 and made.d == 5
        mine = ours.index_factory(5, words)
        assert mine.metric_type == ours.METRIC_L2
        assert type(faiss.index_factory(5, words)).__name__ == type(mine).__name__


def test_threads():
    before = ours.omp_get_max_threads()
    ours.omp_set_num_threads(1)
    assert ours.omp_get_max_threads() == 1
    ours.omp_set_num_threads(before)


def test_ids_of_a_map():
    index = filled(ours, "IDMap", random_rows(3))
    assert ours.vector_to_array(index.id_map).tolist() == [-70, -63, -56]
    assert index.remove_ids(np.array([-63])) == 1
    assert index.id_map.tolist() == [-70, -56] and index.index.ntotal == 2
