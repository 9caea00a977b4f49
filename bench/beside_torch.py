#!/usr/bin/env python3
"""beside_torch.py LIBRARY [--quick] [FORM...]: attention beside PyTorch, in one process, in turns.

LIBRARY is libdotk.so; `make bench-attention` brings PyTorch. Of each case both run once in turn,
several times over, on the same arrays; the median counts. The machine's peaks of f32 and bf16 and its
read bandwidth are read before and after each case. Naming forms runs these alone:

    forward    f32, full and causal           mask       boolean masks, given as such
    short      32 to 128 queries and keys     bf16       forward in bf16, full and causal
    backward   gradients of q, k and v        decode     one query against 32,768 keys
    sparse     a window, and blocks at 10 %   dropout    the memory that a call takes at its most

An answer that is not theirs within rounding ends the run. Otherwise bench/results/attention_torch.json
is written; --quick runs small cases on one thread, and neither it nor a run of some forms writes.
"""
import sys
import time

import torch

from attention_forms import FORMS
from attention_tables import impossible
from library import Library, bench_run
from turns import Turns, write_results

THREADS = (1, 2)


class Bench(Turns):
    def __init__(self, library, threads, quick):
        super().__init__(library, threads, quick)
        torch.set_num_threads(threads)


def main(path, names, quick):
    for name in names:
        if name not in FORMS:
            sys.exit(f"beside_torch.py: '{name}' is none of {', '.join(FORMS)}")
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
    write_results("attention_torch", "make bench-attention", commit, ["torch"], found)
    sys.exit("\n".join(impossible(found)) or None)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if not arguments:
        sys.exit(__doc__)
    main(arguments[0], arguments[1:], "--quick" in sys.argv)
