"""peers_search.py: the cases of bench/peers.py that search, and their contenders."""
import functools
import sys

import apsw
import hnswlib
import numpy as np
import sqlite_vec

import dotk
import rivals
from library import CLUSTERS

ROWS, DIM, K = 200000, 768, 10
COUNTS, QUICK_COUNTS = (1, 8, 64, 256, 1024), (1, 64)
MOST = {"usearch": 256, "hnswlib": 256, "sqlite-vec": 1}    # queries: they take them one by one
ASKED, PASSING = 64, (0.01, 0.10, 0.50)
CHECKED = 16        # queries that are compared with all rows in double precision
TOLERANCE = 1e-5    # of |query| |row|: how far a score in f32 may be from it


class Hnswlib:
    """Its index that compares with every row. Threads share out queries."""

    name = "hnswlib"

    def __init__(self, rows):
        self.index, self.threads = hnswlib.BFIndex(space="ip", dim=rows.shape[1]), 1
        self.index.init_index(max_elements=len(rows))
        self.index.add_items(rows, np.arange(len(rows)))

    def search(self, queries, k):
        ids, distances = self.index.knn_query(queries, k, num_threads=self.threads)
        return ids.astype(np.int64), 1 - distances


class SqliteVec:
    """A table in memory; its L2 orders rows of unit length as their products do. One thread.

    apsw has an SQLite that can load extensions, as not every Python's has."""

    name = "sqlite-vec"

    def __init__(self, rows):
        self.connection = apsw.Connection(":memory:")
        self.connection.enable_load_extension(True)
        self.connection.load_extension(sqlite_vec.loadable_path())
        self.connection.execute(f"CREATE VIRTUAL TABLE items USING vec0(v float[{rows.shape[1]}])")
        with self.connection:
            self.connection.executemany("INSERT INTO items(rowid, v) VALUES (?, ?)",
                                        ((i, row.tobytes()) for i, row in enumerate(rows)))

    def search(self, queries, k):
        return np.array([[row for row, in self.connection.execute(
            "SELECT rowid FROM items WHERE v MATCH ? AND k = ? ORDER BY distance",
            (query.tobytes(), k))] for query in queries]), None


class Dotk:
    def __init__(self, name, rows, context, **chosen):
        self.name, self.index = name, dotk.Index(rows.shape[1], context=context, **chosen)
        self.index.add(rows)

    def search(self, queries, k, passing=None):
        return self.index.search(queries, k, filter=passing)


class Items:
    """Rows, queries, and the rivals' indexes, which serve any number of threads."""

    def __init__(self, library, quick):
        count = ROWS // 10 if quick else ROWS
        self.counts = QUICK_COUNTS if quick else COUNTS
        self.rows = library.generate(count, DIM, CLUSTERS)
        self.queries = library.generate(max(COUNTS), DIM, CLUSTERS, queries=1)
        self.flat = rivals.Faiss("faiss flat", False, self.rows)
        self.numpy = rivals.Numpy(False, self.rows)
        self.others = [rivals.Usearch(False, self.rows, 1), Hnswlib(self.rows), SqliteVec(self.rows)]
        wide = self.queries[:CHECKED].astype(np.float64)
        self.exact = np.concatenate([wide @ self.rows[first:first + 20000].astype(np.float64).T
                                     for first in range(0, count, 20000)], axis=1)

    def scores(self, ids, queries):
        """Those of the rows found, in double precision, best first."""
        found = np.einsum("qkd,qd->qk", self.rows[ids].astype(np.float64), queries)
        return -np.sort(-found, axis=1)

    def agree(self, what, answers, queries, passing=None):
        """Ends the run unless all found the best rows. Where two rows' scores differ by no more than
        rounding either may be found; scores that come with the ids must be those rows'."""
        exact = self.exact if passing is None else self.exact[:, passing]
        best = -np.sort(-np.partition(exact, -K)[:, -K:], axis=1)[:len(queries)]
        ours = self.scores(answers["dotk"][0], queries)
        for name, (ids, scores) in answers.items():
            found = self.scores(ids, queries)
            if ids.shape != (len(queries), K) or not np.diff(np.sort(ids)).all() or \
                    (passing is not None and not passing[ids].all()):
                sys.exit(f"peers.py: {what}: {name} finds a row twice, or one that may not be found")
            apart = max(np.abs(found - ours).max(), np.abs(found[:CHECKED] - best).max())
            if apart > 2 * TOLERANCE:
                sys.exit(f"peers.py: {what}: {name} misses a better row: scores are {apart:.2g} apart")
            if scores is not None and np.abs(-np.sort(-scores) - found).max() > TOLERANCE:
                sys.exit(f"peers.py: {what}: {name} has scores that are not its rows'")


@functools.cache
def items(library, quick):
    return Items(library, quick)


def case(bench, form, contenders, queries, *passing, **more):
    """A timed case whose answers are in bench.answers; all of them from memory, so it is read."""
    data = items(bench.library, bench.quick)
    what = f"{len(queries)} queries" + "".join(f", {key} {value}" for key, value in more.items())
    runs = {one.name: functools.partial(one.search, queries, K, *passing) for one in contenders}
    return what, bench.case(form, what, runs, read_bytes=0, rows=len(data.rows), dim=DIM,
                            queries=len(queries), k=K, **more)


def search(bench):
    data = items(bench.library, bench.quick)
    for other in data.others:
        other.threads = bench.threads
    plain = Dotk("dotk", data.rows, bench.ours)
    screened = Dotk("dotk int8 screen", data.rows, bench.ours, screen="int8")
    for count in data.counts:
        contenders = [plain, screened, data.flat, data.numpy,
                      *(other for other in data.others if count <= MOST[other.name])]
        queries = data.queries[:count]
        what, result = case(bench, "search", contenders, queries)
        data.agree(what, bench.answers, queries)
        yield result


def filtered(bench):
    data = items(bench.library, bench.quick)
    queries = data.queries[:ASKED]
    contenders = [Dotk("dotk", data.rows, bench.ours),
                  Dotk("dotk int8 screen", data.rows, bench.ours, screen="int8"),
                  data.flat, data.numpy]
    for part in PASSING:
        passing = np.random.default_rng(1).random(len(data.rows)) < part
        what, result = case(bench, "filter", contenders, queries, passing, part=part)
        data.agree(what, bench.answers, queries, passing)
        yield result


def int8(bench):
    """Stores round the rows, so their answers are near the exact ones: recall says how near."""
    data = items(bench.library, bench.quick)
    exact = [Dotk("dotk", data.rows, bench.ours),
             Dotk("dotk int8 screen", data.rows, bench.ours, screen="int8")]
    stores = [Dotk("dotk int8 store", data.rows, bench.ours, dtype="int8"),
              rivals.Faiss("faiss SQ8", False, data.rows)]
    for count in (1, ASKED):
        queries = data.queries[:count]
        what, result = case(bench, "int8", exact + stores, queries)
        ids = {name: answer[0] for name, answer in bench.answers.items()}
        data.agree(what, {one.name: bench.answers[one.name] for one in exact}, queries)
        yield {**result, "recall": {name: round(float(np.mean([
            len(np.intersect1d(*both)) / K for both in zip(ids["dotk"], found)])), 4)
            for name, found in ids.items()}}
