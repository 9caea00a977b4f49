#!/usr/bin/env python3
"""python_calls: what a call from Python costs beyond the C call, and what two threads get done.

    python_calls.py BUILD [calls] [threads] [large]

calls: nanoseconds of small calls above those of the C function (bench-calls), arrays being numpy's
with out= given; then with outputs made anew, and with tensors. threads: two Python threads against
one, on one index of 10,000 x 768 through a context of one thread, beside what two threads get done
that multiply numbers in their caches. large: the same with 500,000 rows, beside the bytes a second
that one and two threads read. Medians of rounds in which all of them take turns. They are printed, and
written to bench/results/python_calls.json when all three ran.
"""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit

import numpy as np

BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/release").resolve()
sys.path.insert(0, str(BUILD / "python"))
import dotk  # noqa: E402
from library import bench_run  # noqa: E402
from turns import write_results  # noqa: E402

try:
    import torch
except ImportError:
    torch = None

DIM, K, ROUNDS = 768, 10, 5
random = np.random.default_rng(1)


def vectors(rows):
    return dotk.normalize(random.standard_normal((rows, DIM), dtype=np.float32))


def nanoseconds(call):
    """The best of several goes of about 10 ms."""
    timer = timeit.Timer("call()", globals={"call": call})
    times = max(1, int(0.01 / timer.timeit(20) * 20))
    empty = min(timeit.Timer("call()", globals={"call": lambda: None}).repeat(5, times))
    return (min(timer.repeat(8, times)) - empty) / times * 1e9


def calls():
    rows = vectors(1000)
    index = dotk.Index(DIM, context=dotk.Context(1))
    index.add(rows)
    out = np.empty(K, np.int64), np.empty(K, np.float32)
    a, b = rows[0], rows[1]
    timed = {
        "dot": lambda: dotk.dot(a, b),
        "search": lambda: index.search(a, K, out=out),
        "search, outputs made": lambda: index.search(a, K),
    }
    if torch is not None:
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        tensors = torch.from_numpy(out[0]), torch.from_numpy(out[1])
        timed["dot, tensors"] = lambda: dotk.dot(x, y)
        timed["search, tensors"] = lambda: index.search(x, K, out=tensors)
        timed["search, tensors made"] = lambda: index.search(x, K)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.npy"
        dotk.save(path, rows)
        measured = {name: [] for name in timed}
        native = {"dot": [], "search": []}
        for _ in range(ROUNDS):
            run = subprocess.run([BUILD / "bench-calls", path], capture_output=True, check=True)
            said = json.loads(run.stdout)
            for name, values in native.items():
                values.append(said[name])
            for name, call in timed.items():
                measured[name].append(nanoseconds(call) - said[name.split(",")[0]])
    return {
        "c_ns": {name: statistics.median(values) for name, values in native.items()},
        "above_c_ns": {name: round(statistics.median(values)) for name, values in measured.items()},
    }


def rate(count, seconds, prepare):
    """Calls a second of 'count' threads, each making those that prepare() gives it."""
    done = [0] * count
    start, stop = threading.Barrier(count + 1), threading.Event()

    def work(which):
        call = prepare()
        start.wait()
        n = 0
        while not stop.is_set():
            call(n)
            n += 1
        done[which] = n

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def multiplies():
    rows, out = np.ones((4096, 32), np.float32), np.empty(4096, np.float32)
    return lambda n: dotk.norm(rows, out=out)


def two_threads(rows, seconds, after_round=lambda: None):
    index = dotk.Index(DIM, context=dotk.Context(1))
    base = vectors(10000)
    for first in range(0, rows, len(base)):
        index.add(base * np.float32(1 - first / rows / 8))

    def searches():
        out = np.empty(K, np.int64), np.empty(K, np.float32)
        return lambda n: index.search(base[n % 100], K, out=out)

    one, two, yardstick = [], [], []
    for _ in range(ROUNDS):
        yardstick.append(rate(2, seconds / 2, multiplies) / rate(1, seconds / 2, multiplies))
        one.append(rate(1, seconds, searches))
        two.append(rate(2, seconds, searches))
        after_round()
    ratios = [b / a for a, b in zip(one, two)]
    return {
        "rows": rows,
        "searches_a_second": [round(statistics.median(one), 1), round(statistics.median(two), 1)],
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "multiplying": [round(ratio, 3) for ratio in yardstick],
    }


def large():
    said = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.npy"
        dotk.save(path, vectors(16))

        def read():
            run = subprocess.run([BUILD / "bench-calls", path], capture_output=True, check=True)
            said.append(json.loads(run.stdout))

        result = two_threads(500000, 0.4, read)
    bytes_a_search = result["rows"] * DIM * 4
    fastest = [max(each[f"read_{threads}"] for each in said) for threads in (1, 2)]
    result["read_bytes_a_second"] = fastest
    result["fraction_of_read"] = [
        round(searches * bytes_a_search / bytes_read, 3)
        for searches, bytes_read in zip(result["searches_a_second"], fastest)
    ]
    return result


SECTIONS = {"calls": calls, "threads": lambda: two_threads(10000, 0.3), "large": large}


def main():
    chosen = sys.argv[2:] or list(SECTIONS)
    commit = bench_run().commit()
    found = [{"form": name, **SECTIONS[name]()} for name in chosen]
    print(json.dumps(found, indent=1))
    if chosen == list(SECTIONS):
        packages = ["numpy"] + (["torch"] if torch is not None else [])
        write_results("python_calls", "make bench-python", commit, packages, found)


if __name__ == "__main__":
    main()
