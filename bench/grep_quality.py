#!/usr/bin/env python3
"""grep_quality.py BUILD DATA [COLLECTION...]: how good and how fast `dotk grep` is.

Quality: the queries of two collections of abstracts with judgements by experts (cranfield, cacm),
asked of their documents as plain files. A file ranks where its first passage does. The figure is
nDCG@10, beside that of the same documents and queries in SQLite's FTS5 (bm25, porter), where a
query is its words joined by OR. A judgement's gain is its grade; Cranfield grades 1 (a complete
answer) to 4 (of minimum interest), so its gain is 5 less the grade.

Speed: one query against 100 MB of source code copied from this machine's /usr, with its peak of
resident memory; the best of three.

COLLECTION is cranfield, cacm or tree: these are measured and printed. Without any, all three are, and
bench/results/grep_quality.json is written. DATA has the folders cranfield/ and cacm/ in their
classical form.
"""
import concurrent.futures
import datetime
import html.parser
import importlib.machinery
import importlib.util
import json
import math
import os
import pathlib
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPTH = 10      # of nDCG
PASSAGES = 60   # asked for, since several may be of one file
TREE_BYTES = 100_000_000


# ----------------------------------------------------------------------------
#  Collections: documents {id: (file name, text)}, queries {id: text}, gains {id: {document: gain}}
# ----------------------------------------------------------------------------

def cranfield(data):
    documents, queries, gains = {}, [], {}
    section = None
    for line in (data / "cran.all.1400").read_text(errors="replace").splitlines(keepends=True):
        field = re.match(r"\.([A-Z])(?: +(\d+))?\s*$", line)
        if field and field[2]:  # the file ends with an .I without a number
            number = int(field[2])
            documents[number] = (f"{number:04}.txt", "")
        if field:
            section = field[1]
        elif section in "TW":
            name, text = documents[number]
            documents[number] = (name, text + line)
    # The numbers after .I in cran.qry are not those of the judgements, which count queries by place.
    for line in (data / "cran.qry").read_text().splitlines(keepends=True):
        if line.startswith(".I"):
            queries.append("")
        elif not line.startswith("."):
            queries[-1] += line
    for line in (data / "cranqrel").read_text().splitlines():
        query, document, grade = map(int, line.split())
        gains.setdefault(query, {})[document] = max(0, 5 - grade)
    return documents, dict(enumerate(queries, 1)), gains


class Text(html.parser.HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.parts = []
        self.feed(source)

    def handle_data(self, data):
        self.parts.append(data)


def cacm(data):
    documents, queries, gains = {}, {}, {}
    with tarfile.open(data / "cacm.tar.gz") as archive:
        for member in archive.getmembers():
            if member.isfile():
                source = archive.extractfile(member).read().decode("latin-1")
                documents[pathlib.Path(member.name).stem] = (member.name, source)
    topics = (data / "topics.cacm.txt").read_text()
    for number, text in re.findall(r"<DOCNO>\s*(\d+)\s*</DOCNO>(.*?)</DOC>", topics, re.DOTALL):
        queries[int(number)] = text
    for line in (data / "qrels.cacm.txt").read_text().splitlines():
        query, _, document, gain = line.split()
        gains.setdefault(int(query), {})[document] = int(gain)
    return documents, queries, gains


# ----------------------------------------------------------------------------
#  Two ways to search
# ----------------------------------------------------------------------------

def by_grep(dotk, documents, queries):
    """{query: [document, ...]}, best first."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = {}
        for number, (name, text) in documents.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            numbers[str(path)] = number

        def ask(item):
            query, text = item
            command = [dotk, "grep", "--json", "--quiet", "-k", str(PASSAGES), "--threads", "1",
                       "--", " ".join(text.split()), folder]
            process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if process.returncode not in (0, 1):
                sys.exit(f"dotk grep: exit code {process.returncode}")
            found = json.loads(process.stdout)["results"][0]["hits"] if process.stdout else []
            return query, list(dict.fromkeys(numbers[hit["source"]["path"]] for hit in found))

        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return dict(pool.map(ask, queries.items()))


def by_fts5(documents, queries):
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE d USING fts5(number UNINDEXED, text, "
                     "tokenize = 'porter unicode61')")
    for number, (name, text) in documents.items():
        plain = "".join(Text(text).parts) if name.endswith(".html") else text
        database.execute("INSERT INTO d VALUES (?, ?)", (number, plain))
    found = {}
    for query, text in queries.items():
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", text))
        rows = database.execute("SELECT number FROM d WHERE d MATCH ? ORDER BY bm25(d), rowid "
                                "LIMIT ?", (words, DEPTH))
        found[query] = [row[0] for row in rows]
    return found


def ndcg(ranking, gains):
    def discounted(values):
        return sum(value / math.log2(place + 2) for place, value in enumerate(values[:DEPTH]))

    best = discounted(sorted(gains.values(), reverse=True))
    return discounted([gains.get(document, 0) for document in ranking]) / best


def mean_ndcg(rankings, gains):
    return sum(ndcg(rankings.get(query, []), gains[query]) for query in gains) / len(gains)


def quality(dotk, data, name):
    documents, queries, gains = {"cranfield": cranfield, "cacm": cacm}[name](data / name)
    gains = {query: of for query, of in gains.items() if any(of.values())}
    queries = {query: queries[query] for query in gains}
    ours = mean_ndcg(by_grep(dotk, documents, queries), gains)
    theirs = mean_ndcg(by_fts5(documents, queries), gains)
    return {"collection": name, "documents": len(documents), "queries": len(queries),
            "ndcg_at_10": round(ours, 4), "fts5_ndcg_at_10": round(theirs, 4),
            "ratio": round(ours / theirs, 3)}


# ----------------------------------------------------------------------------
#  A tree of 100 MB
# ----------------------------------------------------------------------------

def copy_tree(folder):
    """Source files of /usr, again and again if need be; returns how many files and bytes."""
    endings = (".h", ".hpp", ".c", ".py", ".pm", ".pl", ".txt", ".md")
    files = [path for root in ("include", "lib/python3", "lib/python3.11", "share/perl", "share/doc")
             for path in sorted(pathlib.Path("/usr", root).rglob("*"))
             if path.suffix in endings and path.is_file() and not path.is_symlink()]
    count = size = turn = 0
    while files and size < TREE_BYTES:
        for path in files:
            more = path.stat().st_size
            if size + more > TREE_BYTES:
                return count, size
            copy = pathlib.Path(folder, str(turn), *path.parts[1:])
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            count, size = count + 1, size + more
        turn += 1
    return count, size


def speed(dotk):
    with tempfile.TemporaryDirectory() as folder:
        files, size = copy_tree(folder)
        seconds = []
        for _ in range(3):
            start = time.monotonic()
            subprocess.run([dotk, "grep", "--quiet", "--json", "retry the connection after a timeout",
                            folder], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.monotonic() - start)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"collection": "tree", "files": files, "bytes": size, "seconds": round(min(seconds), 3),
            "peak_rss_mb": round(peak * 1024 / 1e6, 1)}


def bench_run():
    """bench/run as a module: it knows the machine and the commit."""
    loader = importlib.machinery.SourceFileLoader("run", str(ROOT / "bench" / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run", loader))
    loader.exec_module(module)
    return module


def main(build, data, *names):
    dotk = str(pathlib.Path(build, "dotk").resolve())
    data = pathlib.Path(data)
    # The tree first: the peak of memory is that of all children so far.
    found = {}
    for name in sorted(names or ("cacm", "cranfield", "tree"), reverse=True):
        found[name] = speed(dotk) if name == "tree" else quality(dotk, data, name)
        print(json.dumps(found[name]), flush=True)
    if names:
        return
    run = bench_run()
    result = {"schema": "dotk.bench-results/1", "bench": "grep_quality", "commit": run.commit(),
              "date": datetime.date.today().isoformat(), "machine": run.machine(),
              "runs": [{"command": "grep_quality.py BUILD $DOTK_DATA", "bench": "grep-quality",
                        "threads": len(os.sched_getaffinity(0)),
                        "results": [found[name] for name in sorted(found)]}]}
    path = ROOT / "bench" / "results" / "grep_quality.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
