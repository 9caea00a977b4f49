"""peers_tables.py: the tables that bench/report makes of bench/results/peers.json.

A time is a median, with the least and the most of its rounds. A ratio is the fastest rival's time over
ours: below 1, which is marked, that rival is ahead.
"""
from tables import load, number, results, table

# Contenders in the order of columns: the package that has each, and what is called.
CALLED = {
    "dotk": ("dotk", "`dotk.Index(dim).search`, `dotk.attention`, `dotk.attention_backward`, `dotk.dense`"),
    "dotk int8 screen": ("dotk", "`dotk.Index(dim, screen='int8').search`: the same answers"),
    "dotk int8 store": ("dotk", "`dotk.Index(dim, dtype='int8').search`: rounded rows"),
    "dotk prepared": ("dotk", "`dotk.Dense(weight, bias)`, which packs them ahead"),
    "faiss flat": ("faiss-cpu", "`faiss.IndexFlat.search`; a filter is an `IDSelectorBitmap`"),
    "faiss SQ8": ("faiss-cpu", "`faiss.IndexScalarQuantizer.search`, `QT_8bit`: rounded rows"),
    "usearch": ("usearch", "`usearch.index.search(exact=True)`"),
    "hnswlib": ("hnswlib", "`hnswlib.BFIndex.knn_query`"),
    "sqlite-vec": ("sqlite-vec", "a `vec0` table in memory; one thread, whatever is allowed"),
    "torch": ("torch", "`scaled_dot_product_attention`, `autograd.grad`, `linear`"),
    "numpy": ("numpy", "`@` and `argpartition`; `@` and `+`"),
}
READ_FROM_MEMORY = ("search",)    # forms that some cases of are bound by reading rows


def cases(*forms):
    return [result for _, result in results("peers") if result["form"] in forms]


def ms(result, name):
    return result["times"][name]["ms"]


def ours(result):
    """Those of our contenders that rivals are held against: int8 beside int8."""
    return [name for name in result["times"] if name.startswith("dotk")
            and (name != "dotk" or result["form"] != "int8")]


def fastest(result):
    return min((name for name in result["times"] if not name.startswith("dotk")),
               key=lambda name: ms(result, name))


def named(result):
    return (f"{result['form']}, {result['what']}, {result['threads']} "
            f"thread{'s' if result['threads'] > 1 else ''}")


def reached(result):
    """The limit that binds the f32 call: its name, and the fraction of it that was reached."""
    seconds = ms(result, "dotk") / 1e3
    if result["form"] not in READ_FROM_MEMORY:
        return "FMA", result["flop"] / seconds / 1e9 / result["peak_gflop_per_s"]
    values = result["rows"] * result["dim"]
    read = 4 * values / seconds / 1e9 / result["read_gb_per_s"]
    fma = 2 * values * result["queries"] / seconds / 1e9 / result["peak_gflop_per_s"]
    return ("reading", read) if read > fma else ("FMA", fma)


def impossible(found):
    """What no program can do: fractions above 1."""
    fractions = {named(result): reached(result) for result in found
                 if result["form"] not in ("filter", "int8")}
    return [f"{what}: a fraction of {fraction:.3f} of {name} is impossible, so the yardstick is wrong: "
            "measure again while nothing else runs" for what, (name, fraction) in fractions.items()
            if fraction > 1]


def beside(head, cells, found, more=(), more_cells=lambda result: []):
    """A row for each case: what it is, every contender's time, and the fastest rival's over ours."""
    names = [name for name in CALLED if any(name in result["times"] for result in found)]
    mine = ours(found[0])
    rows = []
    for result in found:
        times = [result["times"].get(name) for name in names]
        row = [*cells(result), str(result["threads"])] + [
            f"{number(time['ms'])} ({number(time['least'])} – {number(time['most'])})" if time else ""
            for time in times]
        for name in mine:
            ratio = ms(result, fastest(result)) / ms(result, name)
            row.append((f"**{ratio:.2f}**" if ratio < 1 else f"{ratio:.2f}") + f" {fastest(result)}")
        rows.append(row + more_cells(result))
    return table([*head, "threads", *(f"{name}, ms" for name in names),
                  *(f"fastest rival / {name}" for name in mine), *more], rows)


def of_limit(result):
    name, fraction = reached(result)
    return [f"{fraction:.2f} of {name}"]


def search_table():
    return beside(["queries"], lambda result: [f"{result['queries']:,}"], cases("search"),
                  ["dotk reached"], of_limit)


def filter_table():
    return beside(["rows that pass"], lambda result: [f"{result['part']:.0%}"], cases("filter"))


def int8_table():
    found = cases("int8")
    names = [name for name in CALLED if name in found[0]["recall"] and name != "dotk"]
    return beside(["queries"], lambda result: [str(result["queries"])], found,
                  [f"recall@10, {name}" for name in names],
                  lambda result: [f"{result['recall'][name]:.3f}" for name in names])


def attention_table():
    return beside(["call", "queries and keys"], lambda result: [
        result["form"] + (", causal" if result["causal"] else ""), f"{result['length']:,}"],
        cases("attention", "backward"), ["dotk reached"], of_limit)


def dense_table():
    return beside(["rows × outputs × inputs"], lambda result: [result["what"]],
                  cases("dense"), ["dotk reached"], of_limit)


def ahead_lines():
    """Every case in which somebody else was faster, by name."""
    found = cases("search", "filter", "int8", "attention", "backward", "dense")
    lines = [f"* {named(result)}: {fastest(result)} takes {number(ms(result, fastest(result)))} ms, "
             f"{name} {number(ms(result, name))} ms."
             for result in found for name in ours(result)
             if ms(result, fastest(result)) < ms(result, name)]
    return [f"In {len(lines)} of {sum(len(ours(result)) for result in found)} comparisons"
            + (":" if lines else "."), *([""] if lines else []), *lines]


def machine_lines():
    file = load("peers")
    on, lines = file["machine"], []
    for threads in sorted({result["threads"] for _, result in results("peers")}):
        of = [result for result in cases("search") if result["threads"] == threads]
        read, fma = (sorted(result[key] for result in of)[len(of) // 2]
                     for key in ("read_gb_per_s", "peak_gflop_per_s"))
        lines.append(f"{threads} thread{'s' if threads > 1 else ''}: {read:.1f} GB/s, {fma:.0f} GFLOP/s.")
    called = [f"* *{name}*: {package} {file['versions'][package]}, {called}"
              for name, (package, called) in CALLED.items()]
    return [f"{on['cpu']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['os']}; commit "
            f"{file['commit']}, {file['date']}; `{file['runs'][0]['command']}`. Medians: "
            + " ".join(lines), "", *called]


def drawn(figure, what, lines=lambda: []):
    return lambda: [f"![{what}](../bench/results/{figure}.svg)", "", *lines()]


def once_measured(lines):
    return lambda: lines() if load("peers") else ["Not measured."]


TABLES = {name: once_measured(lines) for name, lines in {
    "peers-machine": machine_lines, "peers-ahead": ahead_lines,
    "peers-search": drawn("peers-search", "queries a second over queries in a call", search_table),
    "peers-filter": drawn("peers-filter", "queries a second over rows that pass", filter_table),
    "peers-int8": int8_table,
    "peers-attention": drawn("peers-attention", "GFLOP/s over the length of the sequence",
                             attention_table),
    "peers-dense": drawn("peers-dense", "GFLOP/s of dense layers", dense_table)}.items()}
