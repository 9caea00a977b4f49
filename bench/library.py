"""library.py: the functions of libdotk.so that bench/exact.py calls, through ctypes.

The structures are those of include/dotk/base.h, search.h and machine.h, field by field. A field that
this file does not know is at the end of a structure and keeps its default.
"""
import ctypes
import sys

import numpy as np

METRICS = ("dot", "cosine", "l2")
DOT, L2 = 0, 2
CLUSTERS, UNIFORM = 0, 1


class ContextOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("threads", ctypes.c_uint32),
                ("isa", ctypes.c_char_p), ("progress", ctypes.c_void_p),
                ("progress_user", ctypes.c_void_p)]


class IndexOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("kind", ctypes.c_int), ("metric", ctypes.c_int),
                ("expect_unit", ctypes.c_int32), ("screen", ctypes.c_int)]


class Filter(ctypes.Structure):
    _fields_ = [("bitmap", ctypes.c_void_p), ("bitmap_bits", ctypes.c_size_t),
                ("ids", ctypes.c_void_p), ("id_count", ctypes.c_size_t)]


class Stats(ctypes.Structure):
    _fields_ = [("rows_scored", ctypes.c_uint64), ("rows_filtered", ctypes.c_uint64),
                ("candidates", ctypes.c_uint64), ("rows_rescored", ctypes.c_uint64),
                ("seconds", ctypes.c_double), ("path", ctypes.c_char_p),
                ("kernel", ctypes.c_char_p),
                ("later", ctypes.c_uint64 * 8)]    # room for what a later library counts


class SearchParams(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("filter", ctypes.POINTER(Filter)),
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
    unknown = set(values) - {name for name, _ in structure._fields_}
    if unknown:
        sys.exit(f"library.py: {structure.__name__} has no field {', '.join(unknown)}")
    return structure(struct_size=ctypes.sizeof(structure), **values)


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


class Library:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.dotk_last_message.restype = ctypes.c_char_p
        self.library.dotk_index_destroy.argtypes = [ctypes.c_void_p]
        self.library.dotk_index_destroy.restype = None

    def call(self, name, *arguments):
        if getattr(self.library, name)(*arguments) != 0:
            sys.exit(f"{name}: {self.library.dotk_last_message().decode()}")

    def context(self, threads):
        out = ctypes.c_void_p()
        self.call("dotk_context_create", ctypes.byref(options(ContextOptions, threads=threads)),
                  ctypes.byref(out))
        return out

    def machine(self, context):
        out = ctypes.c_void_p()
        self.call("dotk_machine_create", context,
                  ctypes.byref(options(MachineOptions, fma_seconds=0.2)), ctypes.byref(out))
        return out

    def reading(self, machine):
        out = Reading()
        self.call("dotk_machine_measure", machine, ctypes.byref(out))
        return out

    def generate(self, rows, dim, kind, queries=0, seed=0):
        out = np.empty((rows, dim), np.float32)
        self.call("dotk_generate", None, ctypes.c_size_t(rows), ctypes.c_size_t(dim),
                  ctypes.byref(options(GenerateOptions, kind=kind, queries=queries, seed=seed)),
                  pointer(out))
        return out


class DotkIndex:
    """A flat index. 'chosen' holds more of dotk_index_options: screen, type."""

    def __init__(self, name, library, context, metric, rows, **chosen):
        self.name, self.library, self.index, self.stats = name, library, ctypes.c_void_p(), Stats()
        library.call("dotk_index_create", context, ctypes.c_size_t(rows.shape[1]),
                     ctypes.byref(options(IndexOptions, metric=metric, **chosen)),
                     ctypes.byref(self.index))
        library.call("dotk_index_add", self.index, ctypes.c_size_t(len(rows)), pointer(rows),
                     ctypes.c_size_t(0), None)

    def search(self, queries, k, passing=None):
        """'passing': for each row whether it may be found, as booleans; None: all of them."""
        n = len(queries)
        ids, scores = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
        params = options(SearchParams, stats=ctypes.pointer(self.stats))
        if passing is not None:
            bitmap = np.packbits(passing, bitorder="little")
            params.filter = ctypes.pointer(Filter(bitmap=bitmap.ctypes.data,
                                                  bitmap_bits=len(passing)))
        self.library.call("dotk_index_search", self.index, ctypes.c_size_t(n), pointer(queries),
                          ctypes.c_size_t(0), ctypes.c_size_t(k), ctypes.byref(params),
                          pointer(ids), pointer(scores), None)
        return ids, scores

    def close(self):
        self.library.library.dotk_index_destroy(self.index)
