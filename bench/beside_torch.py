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
import datetime
import importlib.metadata
import json
import pathlib
import statistics
import sys
import time

import torch

from attention_forms import FORMS
from attention_tables import impossible
from library import Library, bench_run

ROOT = pathlib.Path(__file__).resolve().parent.parent
THREADS = (1, 2)
ROUNDS, QUICK_ROUNDS, LEAST_ROUNDS = 15, 5, 3
SECONDS = 2.0        # what takes longer than a share of this is run fewer times
SHORTEST = 4e-3      # runs shorter than this are repeated, and the time is divided
REST = 0.01          # between runs: threads of the one before may still be spinning
BUFFER = 16 << 20    # that is read, where reading is not what limits


class Bench:
    def __init__(self, library, threads, quick):
        self.library, self.threads, self.quick = library, threads, quick
        self.context, self.machines = library.context(threads), {}
        torch.set_num_threads(threads)

    def reading(self, **chosen):
        key = tuple(sorted(chosen.items()))
        if key not in self.machines:
            self.machines[key] = self.library.machine(self.context, fma_seconds=0.1, **chosen)
        return self.library.reading(self.machines[key])

    def times(self, contenders):
        """{name: [milliseconds]} of interleaved rounds."""
        spent, repeats = {name: [] for name in contenders}, {}
        for name, run in contenders.items():    # all of them have run before
            start = time.perf_counter()
            run()
            repeats[name] = max(1, round(SHORTEST / (time.perf_counter() - start)))
        began = time.perf_counter()
        for turn in range(QUICK_ROUNDS if self.quick else ROUNDS):
            if turn >= LEAST_ROUNDS and time.perf_counter() - began > SECONDS:
                break
            for name, run in contenders.items():
                time.sleep(REST)
                start = time.perf_counter()
                for _ in range(repeats[name]):
                    run()
                spent[name].append((time.perf_counter() - start) / repeats[name] * 1e3)
        return spent

    def case(self, form, what, contenders, store="f32", read_bytes=BUFFER, **more):
        """Times a case; returns what is written of it. The peak is that of products of 'store'."""
        yardstick = {"read_bytes": read_bytes, **({"bf16": 1} if store == "bf16" else {})}
        before = self.reading(**yardstick)
        spent = self.times(contenders)
        after = self.reading(**yardstick)
        print(f"  {form}, {what}, {self.threads} threads: "
              + ", ".join(f"{name} {statistics.median(ms):.3f}" for name, ms in spent.items()),
              file=sys.stderr, flush=True)
        return {
            "form": form, "what": what, "threads": self.threads, "store": store, **more,
            "read_gb_per_s": round((before.read + after.read) / 2e9, 2),
            "peak_gflop_per_s": round((before.fma + after.fma) / 2e9, 1),
            "times": {name: {"ms": round(statistics.median(ms), 5), "rounds": len(ms),
                             "least": round(min(ms), 5), "most": round(max(ms), 5)}
                      for name, ms in spent.items()},
        }


def main(path, names, quick):
    for name in names:
        if name not in FORMS:
            sys.exit(f"beside_torch.py: '{name}' is none of {', '.join(FORMS)}")
    library, run, found, start = Library(path), bench_run(), [], time.monotonic()
    commit = run.commit()
    for threads in THREADS[:1] if quick else THREADS:
        bench = Bench(library, threads, quick)
        for form in names or FORMS:
            with torch.inference_mode(form != "backward"):
                found.extend(FORMS[form](bench))
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    if quick or names:
        return
    result = {"schema": "dotk.bench-results/1", "bench": "attention_torch", "commit": commit,
              "date": datetime.date.today().isoformat(), "machine": run.machine(),
              "versions": {"torch": importlib.metadata.version("torch")},
              "runs": [{"command": "make bench-attention", "bench": "attention_torch",
                        "results": found}]}
    out = ROOT / "bench" / "results" / "attention_torch.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    sys.exit("\n".join(impossible(found)) or None)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if not arguments:
        sys.exit(__doc__)
    main(arguments[0], arguments[1:], "--quick" in sys.argv)
