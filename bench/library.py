"""library.py: libdotk.so through ctypes, as bench/exact.py and bench/beside_torch.py call it.

Structures and constants are read from include/dotk, so that a field more there is one more here.
"""
import ctypes
import importlib.machinery
import importlib.util
import pathlib
import re
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include" / "dotk"
HEADERS = re.sub(r"/\*.*?\*/", "", "".join((INCLUDE / name).read_text() for name in (
    "base.h", "search.h", "attention.h", "cache.h", "machine.h", "multihead.h")), flags=re.DOTALL)
TYPES = {"size_t": ctypes.c_size_t, "int32_t": ctypes.c_int32, "uint32_t": ctypes.c_uint32,
         "int64_t": ctypes.c_int64, "uint64_t": ctypes.c_uint64, "double": ctypes.c_double,
         "float": ctypes.c_float}


def structure(name):
    """The struct of that name as the headers have it; enums are ints, pointers are addresses."""
    fields = []
    for line in re.search(rf"struct {name} {{(.*?)}}", HEADERS, re.DOTALL)[1].split(";")[:-1]:
        if "*" in line:
            kind, names = ctypes.c_void_p, re.findall(r"\*\s*(\w+)", line)
        else:
            first, rest = line.split(None, 1)
            kind, names = TYPES.get(first, ctypes.c_int), rest.split(",")
        fields += [(field.strip(), kind) for field in names]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


def constant(name):
    """Its number, or None where the headers have no such constant."""
    found = re.search(rf"\b{name} = (\d+)", HEADERS)
    return int(found[1]) if found else None


Layout = TYPES["dotk_layout"] = structure("dotk_layout")
ContextOptions = structure("dotk_context_options")
IndexOptions = structure("dotk_index_options")
Filter = structure("dotk_filter")
Stats = structure("dotk_search_stats")
SearchParams = structure("dotk_search_params")
MachineOptions = structure("dotk_machine_options")
Reading = structure("dotk_machine_reading")
GenerateOptions = structure("dotk_generate_options")
Gradients = structure("dotk_attention_gradients")
AttentionShape = structure("dotk_attention_shape")
AttentionOptions = structure("dotk_attention_options")
CacheOptions = structure("dotk_cache_options")
AddOptions = structure("dotk_sequence_add_options")
AttentionStats = structure("dotk_attention_stats")
AttentionBlocks = structure("dotk_attention_blocks")

DOT, L2 = constant("DOTK_METRIC_DOT"), constant("DOTK_METRIC_L2")
METRICS = ("dot", "cosine", "l2")
CLUSTERS, UNIFORM = constant("DOTK_GENERATE_CLUSTERS"), constant("DOTK_GENERATE_UNIFORM")


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

    def machine(self, context, **chosen):
        out = ctypes.c_void_p()
        self.call("dotk_machine_create", context, ctypes.byref(options(MachineOptions, **chosen)),
                  ctypes.byref(out))
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
    """A flat index. 'chosen' holds more of dotk_index_options: screen, store."""

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
        params = options(SearchParams, stats=ctypes.addressof(self.stats))
        if passing is not None:
            bitmap = np.packbits(passing, bitorder="little")
            chosen = Filter(bitmap=bitmap.ctypes.data, bitmap_bits=len(passing))
            params.filter = ctypes.addressof(chosen)
        self.library.call("dotk_index_search", self.index, ctypes.c_size_t(n), pointer(queries),
                          ctypes.c_size_t(0), ctypes.c_size_t(k), ctypes.byref(params),
                          pointer(ids), pointer(scores), None)
        return ids, scores

    def rows(self, count, dim):
        """The rows as they are kept, in f32."""
        out = np.empty((count, dim), np.float32)
        function, first = self.library.library.dotk_index_reconstruct, out.ctypes.data
        for i in range(count):
            if function(self.index, ctypes.c_int64(i), ctypes.c_void_p(first + 4 * dim * i)) != 0:
                sys.exit(f"dotk_index_reconstruct: row {i} is not there")
        return out

    def close(self):
        self.library.library.dotk_index_destroy(self.index)


def bench_run():
    """bench/run as a module: it knows the machine and the commit."""
    loader = importlib.machinery.SourceFileLoader("run", str(ROOT / "bench" / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
    loader.exec_module(module)
    return module
