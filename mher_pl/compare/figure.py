"""The figure of learning curves: one panel a task, the median and interquartile range over seeds."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, product
from math import ceil
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# A method looks the same in every panel of every figure. Colours: Okabe and Ito's, told apart with every form of
# colour blindness. The line says the family: solid for the paper's Figure 2, dashed for variants of goals and losses,
# dash-dotted for methods that train on a model's transitions.
SOLID, DASHED, DASHDOT, DOTTED = "-", (0, (4, 1.5)), (0, (5, 1.2, 1.2, 1.2)), (0, (1, 1.2))
VERMILLION, BLUE, GREEN, ORANGE, SKY, PURPLE, BLACK = (
    "#D55E00",
    "#0072B2",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
)
GREY = "#808080"
STYLES = {
    "mher": (VERMILLION, SOLID),
    "her": (BLUE, SOLID),
    "cher": (GREEN, SOLID),
    "mep": (ORANGE, SOLID),
    "gcsl": (PURPLE, SOLID),
    "ddpg": (BLACK, SOLID),
    "no_sl": (VERMILLION, DASHED),
    "no_mbr": (BLUE, DASHED),
    "random_goals": (GREEN, DASHED),
    "goal_noise": (ORANGE, DASHED),
    "mve": (SKY, DASHDOT),
    "mbpo": (PURPLE, DASHDOT),
    "mve_her": (GREY, DASHDOT),
    "mbpo_her": (BLACK, DASHDOT),
    "mher_plus": (GREY, SOLID),
    "her_plus": (BLUE, DOTTED),
    "mher_relay": (SKY, SOLID),
    "mher_grasp": (PURPLE, DASHED),
    "her_mixed": (SKY, DASHED),
    "plangan": (GREEN, DASHDOT),
    "plangan_original": (BLUE, DASHDOT),
    "mapgo": (ORANGE, DASHDOT),
    "mapgo_original": (VERMILLION, DASHDOT),
}
LABELS = {  # of the sweeps of manipulation, in figures without the methods whose looks they share
    "no model": (SKY, DASHDOT),
    "no guide": (ORANGE, DASHED),
    "HER with the guide": (BLUE, DASHED),
    "HER": (BLUE, SOLID),
}
SPARE_COLOURS = VERMILLION, BLUE, GREEN, ORANGE, PURPLE, BLACK, SKY
LINES = DOTTED, SOLID, DASHED  # of one method with several values

MOST_IN_A_LEGEND = 8  # curves of one legend for all panels, where panels have different ones

X_LABELS = {"epoch": "epoch", "env_steps": "environment steps of training", "wall_s": "seconds, median over seeds"}

Curve = tuple[Sequence[float] | np.ndarray, np.ndarray]  # places on the x-axis [E], success rates [seed, E]


def draw_curves(
    tasks: Mapping[str, Mapping[str, Curve]], episodes: Sequence[int], x_label: str = X_LABELS["epoch"]
) -> Figure:
    """Draw every algorithm's curve on every task.

    Args:
        tasks: by task and then algorithm, its places on the x-axis [E] and success rates [seed, E].
        episodes: of an evaluation, in ascending order where runs differ; none where it is not known.
        x_label: what the x-axis is.
    """
    algorithms = list(dict.fromkeys(name for curves in tasks.values() for name in curves))
    known = [name for name in STYLES if name in algorithms]
    others = [name for name in algorithms if name not in STYLES]
    own_legends = len({tuple(curves) for curves in tasks.values()}) > 1 and len(algorithms) > MOST_IN_A_LEGEND

    columns = 2 if len(tasks) == 4 else min(len(tasks), 3)
    rows = ceil(len(tasks) / columns)
    figure = Figure(figsize=(max(4.4 * columns, 6.0), 3.3 * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    lines: dict[str, dict[str, Line2D]] = {}  # by task and algorithm
    for panel, (task, curves) in zip(axes.flat, tasks.items(), strict=False):
        styles = _styles(list(curves) if own_legends else algorithms)
        lines[task] = _draw_panel(panel, {name: curves[name] for name in [*known, *others] if name in curves}, styles)
        panel.set(title=_literal(task), xlabel=x_label)
    for panel in axes[:, 0]:
        panel.set_ylabel("success rate")
    for panel in axes.flat[len(tasks) :]:
        panel.set_visible(False)

    seeds = [len(rates) for curves in tasks.values() for _, rates in curves.values()]
    rate = f"success rate in {_range(episodes)} episodes" if episodes else "success rate"
    caption = f"Line: median over {_range(seeds)} seeds of the {rate}; shaded: interquartile range"
    if own_legends:
        for panel, (task, curves) in zip(axes.flat, tasks.items(), strict=False):
            panel.legend(
                [lines[task][name] for name in curves],
                [_literal(name) for name in curves],
                frameon=False,
                fontsize="x-small",
                handlelength=3.2,
            )
        figure.supxlabel(caption, fontsize="small")
        return figure
    handles = {name: line for own in lines.values() for name, line in own.items()}
    names = [*known, *others]
    figure.legend(
        [handles[name] for name in names],
        [_literal(name) for name in names],
        loc="outside lower center",
        ncols=_legend_columns(names, figure.get_figwidth()),
        frameon=False,
        handlelength=3.2,
        title=caption,
        title_fontsize="small",
    )
    return figure


def _draw_panel(panel: Any, curves: Mapping[str, Curve], styles: Mapping[str, tuple]) -> dict[str, Line2D]:
    """Draw the curves of a task, the first on top and broken lines above solid ones, and return their lines."""
    lines = {}
    for algorithm in sorted(reversed(list(curves)), key=lambda name: styles[name][1] != SOLID):
        places, rates = curves[algorithm]
        low, median, high = np.percentile(rates, [25, 50, 75], axis=0)  # [E] each
        colour, line = styles[algorithm]
        width = 2.4 if algorithm == "mher" else 1.5
        marker = "o" if len(places) == 1 else None  # a line needs two points
        panel.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0)
        (lines[algorithm],) = panel.plot(
            places, median, color=colour, linestyle=line, linewidth=width, marker=marker, label=algorithm
        )
    panel.set(ylim=(-0.02, 1.02), xlim=_limits(curves))
    panel.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    return lines


def _styles(names: Sequence[str]) -> dict[str, tuple]:
    """Return a colour and a line for each name: a method's own, and for `method, value` lines in its colour."""
    own = STYLES | LABELS
    styles: dict[str, tuple] = {name: own[name] for name in names if name in own}
    lines: dict[str, Iterator] = {}
    taken = {colour for colour, _ in styles.values()}
    free_first = sorted(SPARE_COLOURS, key=taken.__contains__)
    spare = cycle(product(free_first, [DOTTED if styles else SOLID]))
    for name in names:
        method, comma, _ = name.partition(", ")
        if comma and method in STYLES:
            styles[name] = STYLES[method][0], next(lines.setdefault(method, cycle(LINES)))
        elif name not in own:
            styles[name] = next(spare)
    return styles


def _legend_columns(names: Sequence[str], width: float) -> int:
    """Return how many columns of a legend are as wide together as a figure, in inches; of the usual font, roughly."""
    return max(1, min(len(names), int(width / (0.7 + 0.075 * max(map(len, names))))))


def _literal(name: str) -> str:
    """Return a user's name as a text in which Matplotlib finds no formula."""
    return name.replace("$", r"\$")


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _limits(curves: Mapping[str, Curve]) -> tuple[float, float]:
    first, last = min(places[0] for places, _ in curves.values()), max(places[-1] for places, _ in curves.values())
    return (first, last) if last > first else (first - 0.5, first + 0.5)
