#!/usr/bin/env python3
"""Draws the charts beside this file from what the benches print.

    pip install matplotlib==3.10.7
    cargo bench -p certwright-bench --bench scaling > points.txt
    cargo bench -p certwright-bench --bench all > ratios.txt
    docs/benchmarks/charts.py points.txt ratios.txt

Lines `POINT chart series x value` become one curve per series, lines `RATIO name value goal` one bar each. A chart of
which no line was read is left as it is.
"""

import collections
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
# The same numbers make the same file.
matplotlib.rcParams.update({"svg.hashsalt": "certwright", "svg.fonttype": "none", "font.size": 10})
from matplotlib import pyplot  # noqa: E402: the backend is chosen first

HERE = pathlib.Path(__file__).parent
AXES = {
    "names": ("names in the store, and as many wildcards", "ns per look-up"),
    "certificates": ("certificates", "µs per change"),
    "subtrees": ("subtrees in each CA", "µs"),
    "replicas": ("replicas on one etcd", "ms"),
}


def save(figure, name):
    figure.tight_layout()
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def curves(chart, series):
    x_label, y_label = AXES[chart]
    figure, axes = pyplot.subplots(figsize=(6.4, 4))
    for name, points in series.items():
        axes.plot(*zip(*sorted(points)), marker="o", label=name.replace("-", " "))
    axes.set(xlabel=x_label, ylabel=y_label, xscale="log")
    if chart in ("certificates", "subtrees"):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(True, alpha=0.3)
    axes.legend()
    save(figure, chart)


def bars(ratios):
    """How far each figure is from its goal: what ends left of the line is better than the goal."""
    shares = {}
    for name, value, goal in ratios:
        value, limit = float(value), float(goal[2:])
        if limit > 0 and value > 0:
            shares[name] = value / limit if goal.startswith("<=") else limit / value
    names = sorted(shares, key=shares.get)
    figure, axes = pyplot.subplots(figsize=(9, 0.22 * len(names) + 1))
    colours = ["tab:red" if shares[name] > 1 else "tab:blue" for name in names]
    axes.barh([name.replace("_", " ") for name in names], [shares[name] for name in names], color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xlabel="share of the goal that is used up (left of the line: better than the goal)", xlim=(0, 2))
    axes.margins(y=0.01)
    axes.tick_params(axis="y", labelsize=7)
    save(figure, "ratios")


def main():
    points = collections.defaultdict(lambda: collections.defaultdict(list))
    ratios = []
    for path in sys.argv[1:]:
        for line in pathlib.Path(path).read_text().splitlines():
            match line.split():
                case ["POINT", chart, series, x, value]:
                    points[chart][series].append((int(x), float(value)))
                case ["RATIO", name, value, goal, *_]:
                    ratios.append((name, value, goal))
    for chart, series in points.items():
        curves(chart, series)
    if ratios:
        bars(ratios)


main()
