"""peers_figures.py: bench/results/peers-*.svg, drawn of bench/results/peers.json where matplotlib is installed.

Each file says from which results it is, so that `bench/report --check` needs no matplotlib. The same
results give the same bytes.
"""
import hashlib

from peers_tables import CALLED, cases, ms
from tables import ROOT

try:
    import matplotlib
    import matplotlib.pyplot as plt
except ImportError:
    matplotlib = None

RESULTS = ROOT / "bench" / "results" / "peers.json"
COLOURS = dict(zip(CALLED, ("#c1272d", "#e8743b", "#f2a65a", "#e377c2", "#1f77b4", "#6baed6", "#2ca02c", "#9467bd",
                            "#8c564b", "#111111", "#7f7f7f")))
THREADS = (1, 2)


def panels(found, title, y, x):
    """(cases, axes) for each number of threads; the axes are named."""
    figure, all_axes = plt.subplots(1, len(THREADS), figsize=(10, 4), sharey=True, layout="constrained")
    shape = f", {found[0]['rows']:,} × {found[0]['dim']}" if "dim" in found[0] else ""
    figure.suptitle(title + shape)
    all_axes[0].set_ylabel(y)
    for threads, axes in zip(THREADS, all_axes):
        axes.set_title(f"{threads} thread{'s' if threads > 1 else ''}", fontsize="medium")
        axes.set_xlabel(x)
        axes.grid(alpha=0.3)
        yield [result for result in found if result["threads"] == threads], axes
    all_axes[0].legend(fontsize="small")


def lines(axes, found, x, y, style="-", label="{}"):
    """A line for each contender through (x(result), y(result, name))."""
    for name in CALLED:
        points = [(x(result), y(result, name)) for result in found if name in result["times"]]
        if points:
            axes.plot(*zip(*points), style, marker="o", markersize=4, color=COLOURS[name],
                      label=label.format(name))


def ticks(axes, places, labels):
    axes.set_xticks(places, labels)
    axes.minorticks_off()


def per_second(result, name):
    return result["queries"] / ms(result, name) * 1e3


def gflop(result, name):
    return result["flop"] / ms(result, name) / 1e6


def search():
    for found, axes in panels(cases("search"), "Exact search", "queries a second",
                              "queries in a call"):
        axes.loglog()
        lines(axes, found, lambda result: result["queries"], per_second)
        counts = [result["queries"] for result in found]
        ticks(axes, counts, counts)


def filtered():
    for found, axes in panels(cases("filter"), "Exact search where some rows may be found",
                              "queries a second", "rows that may be found"):
        axes.loglog()
        lines(axes, found, lambda result: result["part"], per_second)
        ticks(axes, [result["part"] for result in found], [f"{result['part']:.0%}" for result in found])


def attention():
    for found, axes in panels(cases("attention"), "Attention forward, 12 heads, width 64", "GFLOP/s",
                              "queries and keys"):
        axes.set_xscale("log")
        for causal, style, label in ((False, "-", "{}"), (True, "--", "{}, causal")):
            lines(axes, [result for result in found if result["causal"] == causal],
                  lambda result: result["length"], gflop, style, label)
        axes.plot(*zip(*((result["length"], result["peak_gflop_per_s"]) for result in found
                         if not result["causal"])), ":", color="#999999", label="FMA peak")
        lengths = sorted({result["length"] for result in found})
        ticks(axes, lengths, lengths)
        axes.set_ylim(bottom=0)


def dense():
    for found, axes in panels(cases("dense"), "Dense layers", "GFLOP/s", "rows × outputs × inputs"):
        names = [name for name in CALLED if any(name in result["times"] for result in found)]
        for i, name in enumerate(names):
            width = 0.8 / len(names)
            axes.bar([place + i * width for place in range(len(found))],
                     [gflop(result, name) for result in found], width, color=COLOURS[name], label=name)
        ticks(axes, [place + 0.4 - 0.4 / len(names) for place in range(len(found))], [result["what"].replace(" ", "") for result in found])
        axes.tick_params("x", labelsize="small")


FIGURES = {ROOT / "bench" / "results" / f"peers-{name}.svg": draw for name, draw in (
    ("search", search), ("filter", filtered), ("attention", attention), ("dense", dense))}


def source():
    """What a figure of these results says of where it is from."""
    return f"bench/results/peers.json, sha256 {hashlib.sha256(RESULTS.read_bytes()).hexdigest()[:16]}"


def stale():
    return [path for path in FIGURES if not path.exists() or source() not in path.read_text()] \
        if RESULTS.exists() else []


def write():
    """Draws them all; returns a line that says so where it cannot."""
    if not RESULTS.exists():
        return None
    if matplotlib is None:
        return "figures skipped: there is no matplotlib (make bench-peers installs it in build/peers)"
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "dotk", "svg.fonttype": "none"})
    for path, draw in FIGURES.items():
        draw()
        plt.savefig(path, metadata={"Date": None, "Description": source()})
        plt.close()
    return None
