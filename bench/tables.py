"""tables.py: results and tables, as bench/report and bench/exact_tables.py need them."""
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def load(name):
    path = ROOT / "bench" / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def results(name, bench=None):
    """(run, result) pairs of a results file, those of one bench only if it is named."""
    file = load(name)
    for run in file["runs"] if file else ():
        for result in run["results"]:
            if bench is None or run["bench"] == bench:
                yield run, result


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


class Floors:
    """Collects what misses its floor or ceiling, and writes that beside the figure."""

    def __init__(self):
        self.missed = []

    def show(self, what, fraction, floor, digits=2):
        if floor is None:
            return f"{fraction:.{digits}f}"
        if fraction < floor:
            self.missed.append(f"{what}: {fraction:.3f}, at least {floor:.2f} is wanted")
            return f"**{fraction:.3f} missed** (≥ {floor:.2f})"
        return f"{fraction:.{digits}f} (≥ {floor:.2f})"

    def ratio(self, what, value, floor=None, ceiling=None):
        """A figure that is no fraction of the machine, in three digits."""
        if floor is None and ceiling is None:
            return number(value)
        fine = (floor is None or value >= floor) and (ceiling is None or value <= ceiling)
        bar = f"≥ {floor:.2g}" if floor is not None else f"≤ {ceiling:.2g}"
        if not fine:
            self.missed.append(f"{what}: {value:.4g}, {bar} is wanted")
        return f"{number(value)} ({bar})" if fine else f"**{number(value)} missed** ({bar})"


FLOORS = Floors()
