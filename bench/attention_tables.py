"""attention_tables.py: the tables that bench/report makes of bench/results/attention_torch.json."""
from tables import FLOORS, load, number, results, table

OURS, THEIRS, PLAIN = "dotk", "torch", "dotk, plain arrays"

# What is accepted, of each form: times torch's speed, or the fraction of the peak, whichever comes first.
BARS = {"forward": (1.5, 0.90), "causal": (1.5, 0.90), "short": (2.0, 0.90), "mask": (2.0, 0.90),
        "bf16": (1.5, 0.75), "backward": (1.5, 0.80)}
WIDE_BAR = 1.3                       # forward at D128
DECODE_BARS = (3.0, 0.90)            # times the better of THEIR_WAYS, and of reading: both
THEIR_WAYS = ("torch, enable_gqa", "torch, heads repeated ahead")
WINDOW_BAR, BLOCKS_BAR = 20.0, 7.0   # full / window of 256, full / blocks at 10 %


def cases(*forms):
    return [result for _, result in results("attention_torch") if result["form"] in forms]


def ms(result, name):
    return result["times"][name]["ms"]


def named(result):
    return f"{result['form']}, {result['what']}, {result['threads']} threads"


def of_peak(result, name=OURS, flop=None):
    return (flop or result["flop"]) / ms(result, name) / 1e6 / result["peak_gflop_per_s"]


def of_reading(result):
    return result["bytes"] / ms(result, OURS) / 1e6 / result["read_gb_per_s"]


def impossible(found):
    """What no program can do: fractions above 1."""
    fractions = {named(result): of_peak(result) for result in found
                 if result["form"] in (*BARS, "dropout")}
    fractions |= {named(result): of_reading(result) for result in found
                  if result["form"] == "decode"}
    return [f"{what}: a fraction of {fraction:.3f} is impossible, so the yardstick is wrong: measure "
            "again while nothing else runs" for what, fraction in fractions.items() if fraction > 1]


def beside_table(*forms):
    rows = []
    for result in cases(*forms):
        ratio, fraction = ms(result, THEIRS) / ms(result, OURS), of_peak(result)
        bar, of_bar = BARS[result["form"]]
        if result["form"] == "forward" and result["what"].endswith("D128"):
            bar = WIDE_BAR
        FLOORS.missed += impossible([result])
        shown = FLOORS.ratio(named(result), ratio, bar if fraction < of_bar else None)
        rows.append([result["what"], str(result["threads"]), number(ms(result, OURS)),
                     number(ms(result, THEIRS)), shown,
                     f"{fraction:.2f}" + (f" (≥ {of_bar:.2f})" if fraction >= of_bar else ""),
                     f"{of_peak(result, THEIRS):.2f}"])
    return table(["shape", "threads", "dotk, ms", "torch, ms", "torch / dotk", "dotk, of the peak",
                  "torch, of the peak"], rows)


def decode_table():
    rows = []
    for result in cases("decode"):
        FLOORS.missed += impossible([result])
        theirs = {name: time["ms"] for name, time in result["times"].items()
                  if name.startswith(THEIRS)}
        bar, of_bar = DECODE_BARS
        rows.append([result["what"], str(result["threads"]), number(ms(result, PLAIN)),
                     number(ms(result, OURS)), FLOORS.show(f"{named(result)}: of reading", of_reading(result), of_bar),
                     *map(number, theirs.values()),
                     FLOORS.ratio(named(result), min(theirs[name] for name in THEIR_WAYS) /
                                  ms(result, OURS), bar),
                     f"{min(theirs.values()) / ms(result, OURS):.2f}"])
    names = [name for name in cases("decode")[0]["times"] if name.startswith(THEIRS)] if rows else []
    return table(["shape", "threads", "dotk, plain arrays, ms", "dotk, cache, ms", "of reading", *(f"{name}, ms" for name in names),
                  "the better of the first two / dotk", "the best of all / dotk"], rows)


def sparse_table():
    rows = []
    for result in cases("sparse"):
        full = ms(result, "full")
        for name, bar in (("full", None), ("window", WINDOW_BAR), ("causal window", WINDOW_BAR),
                          ("blocks", BLOCKS_BAR)):
            rows.append([f"{result['what']} {name}", str(result["threads"]),
                         number(ms(result, name)),
                         FLOORS.ratio(f"{named(result)}: full / {name}", full / ms(result, name), bar)])
    return table(["shape", "threads", "ms", "full / this"], rows)


def dropout_table():
    rows = [[result["what"], str(result["threads"]), number(ms(result, OURS)),
             number(ms(result, THEIRS)), f"{result['bytes'][OURS] / 2**20:.1f}",
             f"{result['bytes'][THEIRS] / 2**20:,.0f}"] for result in cases("dropout")]
    return table(["shape", "threads", "dotk, ms", "torch, ms", "dotk, MiB", "torch, MiB"], rows)


def machine_lines():
    file = load("attention_torch")
    on, lines = file["machine"], []
    for threads in sorted({result["threads"] for _, result in results("attention_torch")}):
        peaks = []
        for store in ("f32", "bf16"):
            found = sorted(result["peak_gflop_per_s"] for _, result in results("attention_torch")
                           if result["threads"] == threads and result["store"] == store)
            if found:
                peaks.append(f"{found[len(found) // 2]:.0f} GFLOP/s in {store}")
        lines.append(f"{threads} thread{'s' if threads > 1 else ''}: {', '.join(peaks)}.")
    return [f"{on['cpu']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['os']}; commit "
            f"{file['commit']}, {file['date']}; `make bench-attention`, PyTorch "
            f"{file['versions']['torch']}. Medians: " + " ".join(lines)]


def once_measured(lines):
    return lambda: lines() if load("attention_torch") else ["Not measured."]


TABLES = {name: once_measured(lines) for name, lines in {
    "torch-machine": machine_lines,
    "torch-forward": lambda: beside_table("forward", "causal", "short"),
    "torch-mask": lambda: beside_table("mask"), "torch-bf16": lambda: beside_table("bf16"),
    "torch-backward": lambda: beside_table("backward"), "torch-decode": decode_table,
    "torch-sparse": sparse_table, "torch-dropout": dropout_table}.items()}
