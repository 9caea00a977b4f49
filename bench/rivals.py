"""rivals.py: exact search in faiss, USearch and numpy, called as bench/exact.py calls dotk."""
import os

# Read when the libraries load; each run sets its own number of threads below. Threads of OpenBLAS that
# wait look for work for 2^22 cycles, 1 to 2 ms, and then sleep: all through one contender's calls, but not
# into the next one's. Its own choice, 2^26, was seen to double the time of whoever came after it.
for variable, value in (("OMP_NUM_THREADS", "2"), ("OPENBLAS_NUM_THREADS", "2"),
                        ("OPENBLAS_THREAD_TIMEOUT", "22")):
    os.environ.setdefault(variable, value)

import faiss  # noqa: E402
import numpy as np  # noqa: E402
import threadpoolctl  # noqa: E402
from usearch.index import search as usearch_search  # noqa: E402

PACKAGES = ("faiss-cpu", "usearch", "numpy")
TRAINED_ON = 100000    # rows from which SQ8 learns its ranges
BLOCK = 64             # queries of one matrix product in numpy


def set_threads(threads):
    faiss.omp_set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads, user_api="blas")


class Faiss:
    def __init__(self, name, l2, rows):
        self.name = name
        kind = faiss.METRIC_L2 if l2 else faiss.METRIC_INNER_PRODUCT
        if name == "faiss SQ8":
            self.index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit,
                                                    kind)
            self.index.train(rows[:TRAINED_ON])
        else:
            self.index = faiss.IndexFlat(rows.shape[1], kind)
        self.index.add(rows)

    def search(self, queries, k, passing=None):
        if passing is None:
            scores, ids = self.index.search(queries, k)
            return ids, scores
        bitmap = np.packbits(passing, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(passing), faiss.swig_ptr(bitmap))
        scores, ids = self.index.search(queries, k, params=faiss.SearchParameters(sel=selector))
        return ids, scores

    def close(self):
        self.index.reset()


class Usearch:
    name = "usearch"

    def __init__(self, l2, rows, threads):
        self.metric, self.rows, self.threads = "l2sq" if l2 else "ip", rows, threads

    def search(self, queries, k):
        found = usearch_search(self.rows, queries, k, self.metric, exact=True, threads=self.threads)
        return found.keys.reshape(len(queries), k), None

    def close(self):
        self.rows = None


class Numpy:
    name = "numpy"

    def __init__(self, l2, rows):
        self.rows, self.squares = rows, np.einsum("ij,ij->i", rows, rows) if l2 else None

    def search(self, queries, k, passing=None):
        ids, squares = [], self.squares
        rows = self.rows if passing is None else self.rows[passing]
        if squares is not None and passing is not None:
            squares = squares[passing]
        for first in range(0, len(queries), BLOCK):
            scores = queries[first:first + BLOCK] @ rows.T
            if squares is not None:
                scores *= 2
                scores -= squares
            ids.append(np.argpartition(scores, -k, axis=1)[:, -k:])
        ids = np.concatenate(ids)
        return (ids if passing is None else np.flatnonzero(passing)[ids]), None

    def close(self):
        self.rows = self.squares = None
