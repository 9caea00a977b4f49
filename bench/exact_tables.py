"""exact_tables.py: the tables that bench/report makes of bench/results/exact.json."""
from tables import FLOORS, load, number, results, table

PLAIN, SCREEN, FLAT, SQ8, STORE = "dotk f32", "dotk int8 screen", "faiss flat", "faiss SQ8", "dotk int8"
LARGE = ("clusters", "uniform")    # 500,000 x 768

# What is accepted: ratios of times (rival / dotk), fractions of the machine.
SCREEN_FLOORS = {1: 3.0}                                     # over our plain f32, on LARGE
FLAT_FLOORS = {1: 3.0, 8: 18.0, 64: 20.0, 128: 20.0, 256: 3.8, 1024: 3.8, 4096: 3.8}
LIMIT_FLOORS = {1: 0.85, 256: 0.80, 1024: 0.80, 4096: 0.80}
ALIKE_CEILING = 1.3                                          # screen / plain where it is of no use
SMALL_CEILING = 1.0                                          # ms: 100,000 x 128, k = 5, one thread
STORE_FLOORS = {1: 2.0, 64: 15.0}                            # QT_8bit / int8 store
SMALLER_FLOOR = 3.9                                          # f32 bytes / bytes of the int8 store
RECALL_FLOOR = 0.99
FILTER_FLOOR = 5.0
NO_CACHE = 1 << 28                                           # bytes that certainly lie in memory


def ms(result, name):
    return result["times"][name]["ms"]


def cases(kind):
    return [result for _, result in results("exact") if result["case"] == kind]


def counted(number, one, many):
    return f"{number:,} {one if number == 1 else many}"


def named(result):
    return (f"{result['data']}, {counted(result['queries'], 'query', 'queries')}, "
            f"{counted(result['threads'], 'thread', 'threads')}")


def of_reading(result):
    """The fraction of the read bandwidth that the screen reached."""
    return result["rows"] * result["dim"] / result["read_gb_per_s"] / 1e6 / ms(result, SCREEN)


def impossible(found):
    """What no program can do: fractions of reading above 1, of codes that fit no cache."""
    return [f"{named(result)}: a fraction of {of_reading(result):.3f} of reading is impossible, so "
            "the yardstick is wrong: measure again while nothing else runs"
            for result in found if result["case"] == "search" and of_reading(result) > 1
            and result["rows"] * result["dim"] >= NO_CACHE]


def limit_of(result):
    """The limit that binds the screen: its name and the fraction of it that was reached."""
    FLOORS.missed += impossible([result])
    seconds = ms(result, SCREEN) / 1e3
    codes = result["rows"] * result["dim"]
    read = of_reading(result)
    int8 = 2 * codes * result["queries"] / (3e9 * result["fma_gflop_per_s"]) / seconds
    return ("reading", read) if read > int8 else ("int8", int8)


def search_table():
    rows = []
    for result in cases("search"):
        large = result["data"] in LARGE and result["rows"] == 500000
        what, queries = named(result), result["queries"]
        gain, flat = ms(result, PLAIN) / ms(result, SCREEN), ms(result, FLAT) / ms(result, SCREEN)
        floor = SCREEN_FLOORS.get(queries, 1.0) if large else \
            1 / ALIKE_CEILING if result["data"] == "alike" else 1.0
        name, fraction = limit_of(result)
        time = ms(result, SCREEN)
        small = result["data"] == "small" and queries == 1 and result["threads"] == 1
        rows.append([
            f"{result['data']} {result['rows']:,} × {result['dim']}", str(result["threads"]),
            f"{queries:,}", FLOORS.ratio(f"{what}: ms", time, ceiling=SMALL_CEILING if small else None),
            FLOORS.show(f"{what}: of {name}", fraction, LIMIT_FLOORS.get(queries) if large else None)
            + f" of {name}", f"{result['rescored_per_query']:,.0f}",
            FLOORS.ratio(f"{what}: plain f32 / screened", gain, floor),
            FLOORS.ratio(f"{what}: faiss flat / screened", flat, FLAT_FLOORS.get(queries)
                         if large else None)])
    return table(["vectors", "threads", "queries", "ms", "reached", "scored in f32, a query",
                  "plain f32 / dotk", "faiss flat / dotk"], rows)


def rivals_table():
    """Every contender's time, so that each figure above can be worked out again."""
    names = [PLAIN, SCREEN, "dotk int4 screen", FLAT, SQ8, "usearch", "numpy"]
    if not any(names[2] in result["times"] for result in cases("search")):
        del names[2]
    rows = []
    for result in cases("search"):
        times = result["times"]
        least = min(time["ms"] for time in times.values())
        rows.append([f"{result['data']} {result['rows']:,} × {result['dim']}",
                     str(result["threads"]), f"{result['queries']:,}"]
                    + [("**{}**" if times[name]["ms"] == least else "{}").format(
                        number(times[name]["ms"])) if name in times else "" for name in names])
    return table(["vectors", "threads", "queries"] + [f"{name}, ms" for name in names], rows)


def ahead_lines():
    """Where somebody else was faster, by name."""
    lines = []
    for kind, ours in (("search", (PLAIN, SCREEN)), ("filter", (PLAIN, SCREEN)), ("store", (STORE,))):
        for result in cases(kind):
            best = min(ms(result, name) for name in ours)
            for name, time in result["times"].items():
                if not name.startswith("dotk") and time["ms"] < best:
                    near = " (approximate)" if name == SQ8 and kind != "store" else ""
                    lines.append(f"* {kind}, {named(result)}: {name}{near} takes "
                                 f"{number(time['ms'])} ms, dotk {number(best)} ms.")
    return lines or ["In no case."]


def filter_table():
    rows = []
    for result in cases("filter"):
        what = f"filter, {result['part']:.0%} passing, {named(result)}"
        times = [ms(result, PLAIN), ms(result, SCREEN)]
        rows.append([f"{result['part']:.0%}", str(result["threads"]), f"{result['queries']:,}",
                     *map(number, times), number(ms(result, FLAT)),
                     *(FLOORS.ratio(what, ms(result, FLAT) / time,
                                    FILTER_FLOOR if time == min(times) else None) for time in times),
                     f"{result['same_ids_as_faiss']:.4f}"])
    return table(["rows that pass", "threads", "queries", "plain f32, ms", "screened, ms",
                  "faiss flat, ms", "faiss / plain f32", "faiss / screened", "same ids as faiss"], rows)


def store_table():
    rows = []
    for result in cases("store"):
        for name in result["times"]:
            if name == PLAIN:
                continue
            what = f"{name}, {named(result)}"
            ours = name == STORE
            size, held = 4 * result["rows"] * result["dim"], result["bytes"][name]
            rows.append([
                name, f"{result['data']} {result['rows']:,} × {result['dim']}",
                str(result["threads"]), str(result["queries"]), number(ms(result, name)),
                FLOORS.ratio(f"{what}: faiss SQ8 / int8", ms(result, SQ8) / ms(result, name),
                             STORE_FLOORS[result["queries"]] if ours else None),
                FLOORS.ratio(f"{what}: times smaller", size / held, SMALLER_FLOOR if ours else None)
                if held > 0 and result["data"] in LARGE else "",
                FLOORS.show(f"{what}: recall", result["recall"][name], RECALL_FLOOR if ours else None,
                            digits=4)])
    return table(["store", "vectors", "threads", "queries", "ms", "faiss SQ8's time / its own",
                  "smaller than f32, times", "recall@10"], rows)


def machine_lines():
    file = load("exact")
    on, found = file["machine"], [result for _, result in results("exact")]
    lines = []
    for threads in sorted({result["threads"] for result in found}):
        of = [result for result in found if result["threads"] == threads and result["data"] in LARGE]
        read, fma = (sorted(result[key] for result in of)[len(of) // 2]
                     for key in ("read_gb_per_s", "fma_gflop_per_s"))
        lines.append(f"{counted(threads, 'thread', 'threads')}: {read:.1f} GB/s, "
                     f"{fma:.0f} GFLOP/s in f32, so {3 * fma:,.0f} in int8.")
    versions = ", ".join(f"{name} {version}" for name, version in file["versions"].items())
    return [f"{on['cpu']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['os']}; commit "
            f"{file['commit']}, {file['date']}; `{file['runs'][0]['command']}`. Medians: "
            + " ".join(lines) + f" Rivals: {versions}."]


def summary_table():
    """What README shows: one thread, clusters, and who is fastest beside us."""
    rows = []
    for result in cases("search"):
        if result["data"] != "clusters" or result["threads"] != 1 or result["queries"] in (128, 256):
            continue
        name, rival = min(((name, time["ms"]) for name, time in result["times"].items()
                           if not name.startswith("dotk")), key=lambda pair: pair[1])
        rows.append([f"{result['queries']:,} × {result['rows']:,} × {result['dim']}",
                     number(ms(result, SCREEN)), number(ms(result, PLAIN)), number(ms(result, FLAT)),
                     f"{number(rival)} ({name})"])
    return table(["one thread, queries × rows × dimension, ms", "screen = int8", "plain f32",
                  "faiss IndexFlat", "the fastest of the others"], rows)


def once_measured(lines):
    return lambda: lines() if load("exact") else ["Not measured."]


TABLES = {name: once_measured(lines) for name, lines in {
    "exact-summary": summary_table,
    "exact-machine": machine_lines, "exact-search": search_table, "exact-rivals": rivals_table,
    "exact-ahead": ahead_lines, "exact-filter": filter_table, "exact-store": store_table}.items()}
