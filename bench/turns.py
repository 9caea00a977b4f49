"""turns.py: contenders timed in turns, in one process, between two readings of the machine."""
import datetime
import importlib.metadata
import json
import pathlib
import statistics
import sys
import time

from library import bench_run

ROOT = pathlib.Path(__file__).resolve().parent.parent

ROUNDS, QUICK_ROUNDS, LEAST_ROUNDS = 15, 5, 3
SHORTEST = 4e-3      # runs shorter than this are repeated, and the time is divided
BUFFER = 16 << 20    # that is read, where reading is not what limits


class Turns:
    """Times on one number of threads. 'seconds': a contender whose rounds take longer runs fewer.
    'rest' stands between runs: threads of the one before may still be spinning. A contender then runs
    for 'warm' seconds before its time is taken, unless one run takes ten times as long: its own threads
    sleep, too, and for some milliseconds after they wake may share a core."""

    def __init__(self, library, threads, quick, seconds=1.0, rest=0.01, warm=0.0):
        self.library, self.threads, self.quick = library, threads, quick
        self.seconds, self.rest, self.warm = seconds, rest, warm
        self.context, self.machines = library.context(threads), {}

    def reading(self, **chosen):
        key = tuple(sorted(chosen.items()))
        if key not in self.machines:
            self.machines[key] = self.library.machine(self.context, fma_seconds=0.1, **chosen)
        return self.library.reading(self.machines[key])

    def times(self, contenders):
        """{name: [milliseconds]} of interleaved rounds. A first one, which counts for nothing, leaves
        in self.answers what each contender returned."""
        spent, repeats, rounds, short = {name: [] for name in contenders}, {}, {}, set()
        self.answers = {}
        for name, run in contenders.items():
            start = time.perf_counter()
            self.answers[name] = run()
            once = time.perf_counter() - start
            if once < 10 * self.warm:
                short.add(name)
                once = self.repeated(run)
            repeats[name] = max(1, round(SHORTEST / once))
            rounds[name] = max(LEAST_ROUNDS, min(QUICK_ROUNDS if self.quick else ROUNDS,
                                                 int(self.seconds / (repeats[name] * once))))
        for turn in range(max(rounds.values())):
            for name, run in contenders.items():
                if turn >= rounds[name]:
                    continue
                time.sleep(self.rest)
                if name in short:
                    self.repeated(run)
                start = time.perf_counter()
                for _ in range(repeats[name]):
                    run()
                spent[name].append((time.perf_counter() - start) / repeats[name] * 1e3)
        return spent

    def repeated(self, run):
        """Runs it for a while; returns the seconds of the last time."""
        end = time.perf_counter() + self.warm
        while True:
            start = time.perf_counter()
            run()
            now = time.perf_counter()
            if now >= end:
                return now - start

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


def write_results(bench, command, commit, packages, found):
    """bench/results/BENCH.json; 'packages' are those of the rivals, whose versions are noted."""
    run = bench_run()
    result = {"schema": "dotk.bench-results/1", "bench": bench, "commit": commit,
              "date": datetime.date.today().isoformat(), "machine": run.machine(),
              "versions": {name: importlib.metadata.version(name) for name in packages},
              "runs": [{"command": command, "bench": bench, "results": found}]}
    out = ROOT / "bench" / "results" / f"{bench}.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
