#!/usr/bin/env python3
"""exact.py LIBRARY [--quick]: exact search beside its rivals, in one process, interleaved.

LIBRARY is libdotk.so. Contenders: dotk's plain f32 search, the same with codes of a byte an element
before it (DOTK_SCREEN_INT8), faiss-cpu IndexFlat and IndexScalarQuantizer QT_8bit, USearch's exact
search, and numpy: a matrix product and argpartition. Each runs on 1 and 2 threads; of every case
each contender runs once in turn, several times over, and the median counts. The machine's read
bandwidth and FMA peak are read before and after each case.

Sets: 500,000 x 768 of the committed generator and uniformly random; with $DOTK_DATA MNIST (l2) and
GoogleNews (dot, not normalised). Ids and score bits of the screened search have to be those of the
plain one, and the scores within the stated bound of double precision; anything else ends the run.
--quick takes a tenth of the rows and writes nothing. Otherwise bench/results/exact.json is written.
"""
import ctypes
import gzip
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
K = 10
ROUNDS = 5
CASE_SECONDS = 4.0    # a contender slower than a share of this gets fewer rounds
THREADS = (1, 2)
QUERIES = (1, 8, 64, 256, 1024)
CHECKED = 16          # queries of a case that are compared with double precision

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, str(max(THREADS)))

import faiss  # noqa: E402
import numpy as np  # noqa: E402
import threadpoolctl  # noqa: E402
from usearch.index import search as usearch_search  # noqa: E402


class ContextOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("threads", ctypes.c_uint32),
                ("isa", ctypes.c_char_p), ("progress", ctypes.c_void_p),
                ("progress_user", ctypes.c_void_p)]


class IndexOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("kind", ctypes.c_int), ("metric", ctypes.c_int),
                ("expect_unit", ctypes.c_int32), ("screen", ctypes.c_int)]


class Stats(ctypes.Structure):
    _fields_ = [("rows_scored", ctypes.c_uint64), ("rows_filtered", ctypes.c_uint64),
                ("candidates", ctypes.c_uint64), ("rows_rescored", ctypes.c_uint64),
                ("seconds", ctypes.c_double), ("path", ctypes.c_char_p),
                ("kernel", ctypes.c_char_p)]


class SearchParams(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("filter", ctypes.c_void_p),
                ("clip_at_zero", ctypes.c_int32), ("stats", ctypes.POINTER(Stats))]


class MachineOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("read_bytes", ctypes.c_size_t),
                ("fma_seconds", ctypes.c_double)]


class Reading(ctypes.Structure):
    _fields_ = [("read", ctypes.c_double), ("fma", ctypes.c_double),
                ("fma_one_thread", ctypes.c_double), ("clock", ctypes.c_double)]


class GenerateOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("kind", ctypes.c_int),
                ("queries", ctypes.c_int32), ("seed", ctypes.c_uint64), ("first", ctypes.c_uint64)]


def options(structure, /, **values):
    return structure(struct_size=ctypes.sizeof(structure), **values)


class Dotk:
    """The few functions this program calls."""

    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.dotk_last_message.restype = ctypes.c_char_p
        self.library.dotk_version.restype = ctypes.c_char_p
        self.library.dotk_index_destroy.argtypes = [ctypes.c_void_p]

    def __call__(self, name, *arguments):
        if getattr(self.library, name)(*arguments) != 0:
            sys.exit(f"{name}: {self.library.dotk_last_message().decode()}")

    def context(self, threads):
        out = ctypes.c_void_p()
        self("dotk_context_create", ctypes.byref(options(ContextOptions, threads=threads)),
             ctypes.byref(out))
        return out

    def machine(self, context):
        out = ctypes.c_void_p()
        self("dotk_machine_create", context, ctypes.byref(options(MachineOptions, fma_seconds=0.2)),
             ctypes.byref(out))
        return out

    def reading(self, machine):
        out = Reading()
        self("dotk_machine_measure", machine, ctypes.byref(out))
        return out

    def generate(self, rows, dim, kind, queries):
        out = np.empty((rows, dim), np.float32)
        self("dotk_generate", None, ctypes.c_size_t(rows), ctypes.c_size_t(dim),
             ctypes.byref(options(GenerateOptions, kind=kind, queries=queries)), pointer(out))
        return out


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


class DotkIndex:
    def __init__(self, dotk, context, metric, rows, screen):
        self.dotk, self.index, self.stats = dotk, ctypes.c_void_p(), Stats()
        self.name = "dotk int8 screen" if screen else "dotk f32"
        dotk("dotk_index_create", context, ctypes.c_size_t(rows.shape[1]),
             ctypes.byref(options(IndexOptions, metric=metric, screen=screen)),
             ctypes.byref(self.index))
        dotk("dotk_index_add", self.index, ctypes.c_size_t(len(rows)), pointer(rows),
             ctypes.c_size_t(0), None)

    def search(self, queries):
        ids = np.empty((len(queries), K), np.int64)
        scores = np.empty((len(queries), K), np.float32)
        params = options(SearchParams, stats=ctypes.pointer(self.stats))
        self.dotk("dotk_index_search", self.index, ctypes.c_size_t(len(queries)), pointer(queries),
                  ctypes.c_size_t(0), ctypes.c_size_t(K), ctypes.byref(params), pointer(ids),
                  pointer(scores), None)
        return ids, scores

    def close(self):
        self.dotk.library.dotk_index_destroy(self.index)


class FaissIndex:
    def __init__(self, metric, rows, quantised):
        kind = faiss.METRIC_L2 if metric == 2 else faiss.METRIC_INNER_PRODUCT
        if quantised:
            self.name = "faiss SQ8"
            self.index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit,
                                                    kind)
            self.index.train(rows[:100000])
        else:
            self.name = "faiss flat"
            self.index = faiss.IndexFlat(rows.shape[1], kind)
        self.index.add(rows)

    def search(self, queries):
        scores, ids = self.index.search(queries, K)
        return ids, scores


class Usearch:
    name = "usearch exact"

    def __init__(self, metric, rows, threads):
        self.metric, self.rows, self.threads = "l2sq" if metric == 2 else "ip", rows, threads

    def search(self, queries):
        found = usearch_search(self.rows, queries, K, self.metric, exact=True, threads=self.threads)
        return found.keys, found.distances


class Numpy:
    name = "numpy"

    def __init__(self, metric, rows):
        self.rows, self.squares = rows, (rows * rows).sum(1) if metric == 2 else None

    def search(self, queries):
        ids = []
        for first in range(0, len(queries), 64):
            scores = queries[first:first + 64] @ self.rows.T
            if self.squares is not None:
                scores *= 2
                scores -= self.squares
            ids.append(np.argpartition(scores, -K, axis=1)[:, -K:])
        return np.concatenate(ids), None


def double_check(rows, queries, metric, ids, scores, what):
    """Scores within the f32 bound of double precision, and no row left out beyond twice that."""
    n, dim = min(CHECKED, len(queries)), rows.shape[1]
    exact = np.empty((n, len(rows)))
    wide = queries[:n].astype(np.float64)
    for first in range(0, len(rows), 20000):
        part = rows[first:first + 20000].astype(np.float64)
        if metric == 2:
            for q in range(n):
                exact[q, first:first + 20000] = ((part - wide[q]) ** 2).sum(1)
        else:
            exact[:, first:first + 20000] = wide @ part.T
    norms = np.linalg.norm(rows, axis=1).max() * np.linalg.norm(wide, axis=1)
    for q in range(n):
        size = np.abs(scores[q]).max() if metric == 2 else norms[q]
        bound = (256 + dim / 256 + 5) * 2.0 ** -24 * size
        sign = -1 if metric == 2 else 1
        best = np.sort(sign * exact[q])[::-1][:K]
        if np.abs(exact[q][ids[q]] - scores[q]).max() > bound:
            sys.exit(f"exact.py: {what}: query {q}: a score is not within its bound")
        if (best - sign * exact[q][ids[q]]).max() > 2 * bound:
            sys.exit(f"exact.py: {what}: query {q}: a better row is missing")


def time_case(contenders, queries):
    """Milliseconds of each contender: medians of interleaved rounds."""
    times = {contender.name: [] for contender in contenders}
    rounds = {}
    for turn in range(ROUNDS + 1):
        for contender in contenders:
            if turn > 1 and turn > rounds[contender.name]:
                continue
            start = time.perf_counter()
            contender.search(queries)
            seconds = time.perf_counter() - start
            if turn == 0:    # the first run warms up, and tells how long it takes
                rounds[contender.name] = max(1, min(ROUNDS, int(CASE_SECONDS / seconds)))
            else:
                times[contender.name].append(seconds * 1e3)
    return {name: {"ms": round(statistics.median(values), 4), "rounds": len(values),
                   "least": round(min(values), 4), "most": round(max(values), 4)}
            for name, values in times.items()}


def sets(dotk, quick):
    rows = 50000 if quick else 500000
    for kind, name in ((0, "clusters"), (1, "uniform")):
        yield (name, 0, dotk.generate(rows, 768, kind, 0), dotk.generate(max(QUERIES), 768, kind, 1),
               QUERIES)
    yield "small", 0, dotk.generate(100000, 128, 0, 0), dotk.generate(64, 128, 0, 1), (1, 64)
    data = os.environ.get("DOTK_DATA")
    if not data:
        print("exact.py: DOTK_DATA is not set: without MNIST and GoogleNews", file=sys.stderr)
        return
    data = pathlib.Path(data)

    def images(name):
        raw = gzip.open(data / "mnist" / name).read()
        return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784).astype(np.float32)
    yield ("mnist", 2, images("train-images-idx3-ubyte.gz"),
           images("t10k-images-idx3-ubyte.gz")[:1024], (1, 64, 1024))
    news = np.fromfile(data / "emb-googlenews" / "googlenews-8000x300.f32", np.float32)
    news = news.reshape(-1, 300)
    yield "googlenews", 0, news, np.ascontiguousarray(news[::16][:256]), (1, 64, 256)


def measure(dotk, quick):
    contexts = {threads: dotk.context(threads) for threads in THREADS}
    machines = {threads: dotk.machine(contexts[threads]) for threads in THREADS}
    for name, metric, rows, queries, counts in sets(dotk, quick):
        print(f"{name}: {rows.shape[0]} x {rows.shape[1]}", file=sys.stderr, flush=True)
        rivals = [FaissIndex(metric, rows, False), FaissIndex(metric, rows, True),
                  Numpy(metric, rows)]
        for threads in THREADS:
            faiss.omp_set_num_threads(threads)
            own = [DotkIndex(dotk, contexts[threads], metric, rows, screen) for screen in (0, 1)]
            for count in counts:
                asked = np.ascontiguousarray(queries[:count])
                what = f"{name}, {count} queries, {threads} threads"
                contenders = own + [rival for rival in rivals
                                    if rival.name != "faiss SQ8" or count <= 64]
                if count <= 8:
                    contenders.append(Usearch(metric, rows, threads))
                before = dotk.reading(machines[threads])
                with threadpoolctl.threadpool_limits(threads, user_api="blas"):
                    times = time_case(contenders, asked)
                after = dotk.reading(machines[threads])
                (ids, scores), (screened_ids, screened_scores) = (c.search(asked) for c in own)
                if ids.tobytes() != screened_ids.tobytes() or \
                        scores.tobytes() != screened_scores.tobytes():
                    sys.exit(f"exact.py: {what}: the screened answer is another")
                if threads == 1:
                    double_check(rows, asked, metric, ids, scores, what)
                read, fma = (before.read + after.read) / 2, (before.fma + after.fma) / 2
                elements = rows.size
                seconds = times["dotk int8 screen"]["ms"] / 1e3
                yield {
                    "data": name, "metric": ("dot", "cosine", "l2")[metric], "rows": rows.shape[0],
                    "dim": rows.shape[1], "queries": count, "threads": threads, "k": K,
                    "read_gb_per_s": round(read / 1e9, 2), "fma_gflop_per_s": round(fma / 1e9, 1),
                    "rescored_per_query": round(own[1].stats.rows_rescored / count, 1),
                    "fraction_of_read": round(elements / read / seconds, 4),
                    "fraction_of_int8": round(2 * elements * count / (3 * fma) / seconds, 4),
                    "times": times,
                }
                print(f"  {what}: " + ", ".join(f"{key} {value['ms']:.2f}"
                                                for key, value in times.items()),
                      file=sys.stderr, flush=True)
            for index in own:
                index.close()


def main(path, quick):
    # bench/run has no ending: it is loaded as it is
    loader = importlib.machinery.SourceFileLoader("bench_run", str(ROOT / "bench" / "run"))
    bench_run = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    loader.exec_module(bench_run)
    result = {
        "schema": "dotk.bench-results/1", "bench": "exact", "commit": bench_run.commit(),
        "date": time.strftime("%Y-%m-%d"), "machine": bench_run.machine(),
        "command": "make bench-exact",
        "versions": {name: importlib.metadata.version(name)
                     for name in ("faiss-cpu", "usearch", "numpy")},
        "results": list(measure(Dotk(path), quick)),
    }
    if not quick:
        out = ROOT / "bench" / "results" / "exact.json"
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    main(arguments[0], "--quick" in sys.argv)
