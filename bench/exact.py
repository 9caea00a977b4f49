#!/usr/bin/env python3
"""exact.py LIBRARY [--quick] [SET...]: exact search beside its rivals, in one process, interleaved.

LIBRARY is libdotk.so; `make bench-exact` brings the rivals: faiss-cpu (IndexFlat, and
IndexScalarQuantizer QT_8bit), USearch's exact search, numpy (a matrix product and argpartition).
Of each case every contender runs once in turn, several times over; the median counts. The machine's
read bandwidth and FMA peak are read before and after each case.

Cases, on 1 and 2 threads:
    search   1 to 4,096 queries, dotk's plain f32 search and the one with codes of a byte before it
    filter   64 queries where 1 %, 10 % and 50 % of the rows may be found
    store    an index that keeps f16, bf16 or int8 and nothing else, beside QT_8bit: time, memory, recall

Sets: 500,000 x 768 of the committed generator and uniformly random; as many rows that are nearly the
same, so that no bound excludes any; 100,000 x 128; where `make data` has been MNIST (l2) and GoogleNews
(dot, not normalised). Naming some of them runs these alone.

An answer of the screened search that is not the plain one's, ids and bits of scores, ends the run, and
so does a score that is not within the stated bound of double precision, and a better row left out.
Otherwise bench/results/exact.json is written. --quick takes a tenth of the rows; neither it nor a run
of some sets writes anything.
"""
import os
import pathlib
import statistics
import sys
import time

import rivals
import numpy as np
from exact_tables import impossible
from library import CLUSTERS, DOT, L2, METRICS, UNIFORM, DotkIndex, Library, bench_run, constant
from turns import write_results

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "build" / "data"    # what tools/prepare-data makes
ROUNDS = 15
SECONDS = 4.5         # what takes longer than a share of this is run fewer times, but at least once
REST = 0.02           # between runs: threads of the one before may still be spinning
THREADS = (1, 2)
LARGE = ("clusters", "uniform")
MANY, FEWER = (1, 8, 64, 128, 256, 1024, 4096), (1, 8, 64, 256, 4096)
MOST = {"dotk int4 screen": 64, "faiss SQ8": 64, "usearch": 64, "numpy": 1024}    # queries
CHECKED = 16          # queries of a case that are compared with double precision
RECALLED = 256        # queries that recall is taken over
PASSING = (0.01, 0.10, 0.50)
INT8, INT4 = constant("DOTK_SCREEN_INT8"), constant("DOTK_SCREEN_INT4")
STORES = {name: constant("DOTK_STORE_" + name.upper()) for name in ("f16", "bf16", "int8")}


class Set:
    """Rows, queries, and what is asked of them."""

    def __init__(self, name, metric, rows, queries, counts, k=10, filtered=False, stored=False):
        self.name, self.metric, self.rows, self.queries = name, metric, rows, queries
        self.counts, self.k, self.filtered, self.stored = counts, k, filtered, stored
        self.wide = queries[:CHECKED].astype(np.float64)
        self.exact = np.empty((len(self.wide), len(rows)))    # scores in double precision
        for first in range(0, len(rows), 20000):
            part = rows[first:first + 20000].astype(np.float64)
            if metric == L2:
                for q, query in enumerate(self.wide):
                    self.exact[q, first:first + 20000] = ((part - query) ** 2).sum(1)
            else:
                self.exact[:, first:first + 20000] = self.wide @ part.T
        self.recall = {}    # of each store
        self.longest = np.sqrt(np.einsum("ij,ij->i", rows, rows).max())

    def check(self, ids, scores, what, passing=None):
        """Scores within the bound of f32, and no row left out that is better by twice that."""
        sign = -1 if self.metric == L2 else 1
        for q in range(min(CHECKED, len(ids))):
            size = np.abs(scores[q]).max() if self.metric == L2 else \
                self.longest * np.linalg.norm(self.wide[q])
            bound = (256 + self.rows.shape[1] / 256 + 5) * 2.0 ** -24 * size
            exact = sign * self.exact[q]
            allowed = exact if passing is None else exact[passing]
            best = np.sort(np.partition(allowed, -self.k)[-self.k:])[::-1]
            if passing is not None and not passing[ids[q]].all():
                sys.exit(f"exact.py: {what}: query {q}: a row that the filter excludes")
            if np.abs(exact[ids[q]] - sign * scores[q]).max() > bound:
                sys.exit(f"exact.py: {what}: query {q}: a score is not within its bound")
            if (best - exact[ids[q]]).max() > 2 * bound:
                sys.exit(f"exact.py: {what}: query {q}: a better row is missing")


def sets(library, scale, names):
    """The sets, made when they are asked for: one at a time is in memory."""
    large = 500000 // scale

    def made(name, kind, counts, **more):
        return Set(name, DOT, library.generate(large, 768, kind),
                   library.generate(max(counts), 768, kind, queries=1), counts, **more)

    def alike():
        """Around one direction: scores differ by less than the bound of any code of a byte."""
        centre = library.generate(1, 768, UNIFORM, seed=2)

        def near(vectors):
            vectors *= 0.1
            vectors += centre
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return Set("alike", DOT, near(library.generate(large, 768, UNIFORM)),
                   near(library.generate(64, 768, UNIFORM, queries=1)), (1, 8, 64))

    def small():
        return Set("small", DOT, library.generate(100000 // scale, 128, CLUSTERS),
                   library.generate(64, 128, CLUSTERS, queries=1), (1, 64), k=5)

    def mnist():
        def images(name):
            return np.fromfile(DATA / name, np.uint8, offset=8).reshape(-1, 784).astype(np.float32)
        return Set("mnist", L2, images("mnist-train.u8bin")[:60000 // scale],
                   images("mnist-test.u8bin")[:1024], (1, 8, 64, 256, 1024), stored=True)

    def googlenews():
        rows = np.load(DATA / "googlenews.npy")
        return Set("googlenews", DOT, rows, np.ascontiguousarray(rows[::8]), (1, 8, 64, 256),
                   stored=True)

    makers = {"clusters": lambda: made("clusters", CLUSTERS, MANY, filtered=True, stored=True),
              "uniform": lambda: made("uniform", UNIFORM, FEWER), "alike": alike, "small": small,
              "mnist": mnist, "googlenews": googlenews}
    if set(names) - set(makers):
        sys.exit(f"exact.py: '{(set(names) - set(makers)).pop()}' is none of {', '.join(makers)}")
    for name, maker in makers.items():
        if names and name not in names:
            continue
        try:
            yield maker()
        except FileNotFoundError as missing:
            print(f"exact.py: without {name}: {missing.filename} is not there: make data",
                  file=sys.stderr)


def resident():
    """Bytes of memory that this process holds."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Bench:
    """One set on one number of threads."""

    def __init__(self, library, context, machine, threads, data):
        self.library, self.context, self.machine = library, context, machine
        self.threads, self.data, self.l2 = threads, data, data.metric == L2
        rivals.set_threads(threads)

    def dotk(self, name, **chosen):
        return DotkIndex(name, self.library, self.context, self.data.metric, self.data.rows,
                         **chosen)

    def times(self, contenders, *arguments):
        """{name: milliseconds} of interleaved rounds, and {name: answer}."""
        spent, wanted, answers = {contender.name: [] for contender in contenders}, {}, {}
        for turn in range(ROUNDS + 1):
            for contender in contenders:
                name = contender.name
                if turn > wanted.get(name, turn):
                    continue
                time.sleep(REST)
                start = time.perf_counter()
                answers[name] = contender.search(*arguments)
                seconds = time.perf_counter() - start
                if turn == 0:    # warms up, and counts only where it is the only round
                    wanted[name] = min(ROUNDS, int(SECONDS / seconds))
                if turn > 0 or wanted[name] == 0:
                    spent[name].append(seconds * 1e3)
        return {name: {"ms": round(statistics.median(ms), 4), "rounds": len(ms),
                       "least": round(min(ms), 4), "most": round(max(ms), 4)}
                for name, ms in spent.items()}, answers

    def case(self, kind, contenders, queries, passing=None, **more):
        """Times a case; returns what is written of it, and the answers."""
        data = self.data
        arguments = (queries, data.k) if passing is None else (queries, data.k, passing)
        before = self.library.reading(self.machine)
        times, answers = self.times(contenders, *arguments)
        after = self.library.reading(self.machine)
        result = {
            "case": kind, "data": data.name, "metric": METRICS[data.metric],
            "rows": data.rows.shape[0], "dim": data.rows.shape[1], "queries": len(queries), "k": data.k,
            "threads": self.threads, **more,
            "read_gb_per_s": round((before.read + after.read) / 2e9, 2),
            "fma_gflop_per_s": round((before.fma + after.fma) / 2e9, 1),
            "times": times,
        }
        print(f"  {kind}, {len(queries)} queries, {self.threads} threads"
              + "".join(f", {key} {value}" for key, value in more.items()) + ": "
              + ", ".join(f"{name} {time['ms']:.2f}" for name, time in times.items()),
              file=sys.stderr, flush=True)
        return result, answers

    def check_store(self, store):
        """What is kept is rounded, but the search of it is exact: as one of f32 that has these rows."""
        data, asked = self.data, np.ascontiguousarray(self.data.queries[:64])
        kept = DotkIndex("as kept", self.library, self.context, data.metric,
                         store.rows(*data.rows.shape))
        self.compare({index.name: index.search(asked, data.k) for index in (kept, store)},
                     kept.name, store.name, "64 queries")
        kept.close()

    def compare(self, answers, one, other, what):
        """Ids and bits of scores."""
        if any(a.tobytes() != b.tobytes() for a, b in zip(answers[one], answers[other])):
            sys.exit(f"exact.py: {self.data.name}, {what}: {other} and {one} differ")

    def search(self, plain, screened, flat):
        data, others = self.data, []
        if data.name != "alike":    # which only compares dotk with itself
            others = [rivals.Faiss("faiss SQ8", self.l2, data.rows), rivals.Numpy(self.l2, data.rows),
                      rivals.Usearch(self.l2, data.rows, self.threads)]
        if INT4 and data.name in LARGE:
            others.append(self.dotk("dotk int4 screen", screen=INT4))
        for count in data.counts:
            contenders = [plain, screened, flat,
                          *(other for other in others if count <= MOST[other.name])]
            result, answers = self.case("search", contenders,
                                        np.ascontiguousarray(data.queries[:count]))
            what = f"{count} queries, {self.threads} threads"
            for name in answers:
                if name.endswith("screen"):
                    self.compare(answers, plain.name, name, what)
            data.check(*answers[plain.name], f"{data.name}, {what}")
            result["rescored_per_query"] = round(screened.stats.rows_rescored / count, 1)
            yield result
        for other in others:
            other.close()

    def filter(self, plain, screened, flat):
        queries = np.ascontiguousarray(self.data.queries[:64])
        for part in PASSING:
            passing = np.random.default_rng(1).random(len(self.data.rows)) < part
            result, answers = self.case("filter", [plain, screened, flat], queries, passing,
                                        part=part)
            what = f"{part:.0%} passing, {self.threads} threads"
            self.compare(answers, plain.name, screened.name, what)
            self.data.check(*answers[plain.name], f"{self.data.name}, {what}", passing)
            ids = answers[flat.name][0]
            result["same_ids_as_faiss"] = round(float(np.mean(np.sort(ids) == np.sort(
                answers[plain.name][0]))), 5)
            yield result

    def store(self, plain):
        """Answers of rounded rows are near the exact ones: recall says how near."""
        data, stores, memory = self.data, [], {}
        for name in (*STORES, "faiss SQ8"):
            before = resident()
            stores.append(rivals.Faiss(name, self.l2, data.rows) if name not in STORES else
                          self.dotk("dotk " + name, store=STORES[name]))
            memory[stores[-1].name] = resident() - before
        if self.threads == 1:
            for store in stores[:-1]:
                self.check_store(store)
            asked = np.ascontiguousarray(data.queries[:RECALLED])
            exact = plain.search(asked, data.k)[0]
            for store in stores:
                found = store.search(asked, data.k)[0]
                data.recall[store.name] = round(float(np.mean([
                    len(np.intersect1d(*both)) / data.k for both in zip(exact, found)])), 5)
        for count in (1, 64):
            result, _ = self.case("store", [plain, *stores],
                                  np.ascontiguousarray(data.queries[:count]))
            yield {**result, "recall": data.recall, "bytes": memory}
        for store in stores:
            store.close()

    def run(self):
        plain, screened = self.dotk("dotk f32"), self.dotk("dotk int8 screen", screen=INT8)
        flat = rivals.Faiss("faiss flat", self.l2, self.data.rows)
        yield from self.search(plain, screened, flat)
        if self.data.filtered:
            yield from self.filter(plain, screened, flat)
        screened.close()
        flat.close()
        if self.data.stored:
            yield from self.store(plain)
        plain.close()


def main(path, names, quick):
    library, found, start = Library(path), [], time.monotonic()
    contexts = [library.context(threads) for threads in THREADS]
    machines = [library.machine(context, fma_seconds=0.2) for context in contexts]
    commit = bench_run().commit()
    for data in sets(library, 10 if quick else 1, names):
        print(f"{data.name}: {data.rows.shape[0]} x {data.rows.shape[1]}", file=sys.stderr)
        for threads, context, machine in zip(THREADS, contexts, machines):
            found.extend(Bench(library, context, machine, threads, data).run())
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    if quick or names:
        return
    write_results("exact", "make bench-exact", commit, rivals.PACKAGES, found)
    sys.exit("\n".join(impossible(found)) or None)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    if not arguments:
        sys.exit(__doc__)
    main(arguments[0], arguments[1:], "--quick" in sys.argv)
