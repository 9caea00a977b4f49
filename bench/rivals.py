"""rivals.py: exact search in faiss, USearch and numpy, called as bench/exact.py calls dotk."""
import os

# Read when the libraries load; each run sets its own number below.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "2")

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

    def search(self, queries, k):
        ids = []
        for first in range(0, len(queries), BLOCK):
            scores = queries[first:first + BLOCK] @ self.rows.T
            if self.squares is not None:
                scores *= 2
                scores -= self.squares
            ids.append(np.argpartition(scores, -k, axis=1)[:, -k:])
        return np.concatenate(ids), None

    def close(self):
        self.rows = self.squares = None
