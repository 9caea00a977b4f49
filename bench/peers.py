#!/usr/bin/env python3
"""peers.py LIBRARY [--quick] [FORM...]: the Python module beside its rivals, in one process, in turns.

`make bench-peers` brings the module and the rivals: faiss-cpu, USearch, hnswlib, sqlite-vec, numpy and
PyTorch. Each is called from Python as its users call it, on the same arrays. Of each case every contender
runs once in turn, several times over, on 1 and on 2 threads; the median counts. LIBRARY is libdotk.so: it
makes the vectors, and reads the machine before and after each case. Naming forms runs these alone:

    search     the 10 best of 200,000 x 768, for 1 to 1,024 queries
    filter     64 queries where 1 %, 10 % and 50 % of the rows may be found
    int8       a byte a value: the proven screen, and stores that keep nothing else
    attention  32 to 4,096 queries and keys, full and causal
    backward   gradients of queries, keys and values
    dense      x W^T + b

An answer that does not agree ends the run. Otherwise bench/results/peers.json is written; --quick runs
small cases on one thread, and neither it nor a run of some forms writes.
"""
import sys
import time

import rivals    # first: it sets how many threads the pools start with
import torch

import dotk
from library import Library, bench_run
from peers_forms import FORMS
from peers_tables import impossible
from turns import Turns, write_results

THREADS = (1, 2)
SECONDS = 2.0
REST = 0.03    # until threads of the contender before have gone to sleep
WARM = 0.01    # as in a program that calls one time after another
PACKAGES = ("dotk", *rivals.PACKAGES, "hnswlib", "sqlite-vec", "apsw", "torch")


class Bench(Turns):
    def __init__(self, library, threads, quick):
        super().__init__(library, threads, quick, SECONDS, REST, WARM)
        self.ours = dotk.Context(threads=threads)
        rivals.set_threads(threads)
        torch.set_num_threads(threads)


def main(path, names, quick):
    for name in names:
        if name not in FORMS:
            sys.exit(f"peers.py: '{name}' is none of {', '.join(FORMS)}")
    library, found, start = Library(path), [], time.monotonic()
    commit = bench_run().commit()
    for threads in THREADS[:1] if quick else THREADS:
        bench = Bench(library, threads, quick)
        for form in names or FORMS:
            with torch.inference_mode(form != "backward"):
                found.extend(FORMS[form](bench))
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    if quick or names:
        return
    write_results("peers", "make bench-peers", commit, PACKAGES, found)
    sys.exit("\n".join(impossible(found)) or None)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if not arguments:
        sys.exit(__doc__)
    main(arguments[0], arguments[1:], "--quick" in sys.argv)
