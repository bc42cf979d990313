"""MHER+ beside its rivals on every task: the curves of the table in docs/results.md, and its figures.

    python benchmarks/compared.py

draws what `benchmarks/plus.py`, `benchmarks/rivals.py` and the sweeps of the paper's MHER have left.
"""

import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mher_pl.compare.figure import X_LABELS, Curve, draw_curves
from mher_pl.compare.kept import read_kept

RESULTS = Path(__file__).resolve().parent / "results"
METHODS = "mher_plus", "her_plus", "mher", "sb3_ddpg", "sb3_sac", "sb3_tqc"
MHER = {  # task: the folder of its kept runs of MHER, and its config
    "Point2DLarge-v1 (boundary_dist=4)": ("authors_arena", "point2d"),
    "Point2DLarge-v1 (boundary_dist=5)": ("paper", "point2d"),
    "Point2DFourRoom-v1 (boundary_dist=4)": ("authors_arena", "four_room"),
    "Point2DFourRoom-v1 (boundary_dist=5)": ("paper", "four_room"),
    "FetchReach-v4": ("paper", "fetch"),
    "SawyerReachXYZ-v1": ("paper", "sawyer"),
    "Reacher-v1": ("paper", "reacher"),
}
MOST_STEPS = 4000  # of the figures


class Point(NamedTuple):
    """One evaluation of a run."""

    env_steps: int
    wall_s: float  # NaN for MHER, whose seconds are not kept
    success_rate: float


Curves = dict[tuple[str, str], list[list[Point]]]  # by task and method: one a seed


def read_curves() -> Curves:
    """Read the curves of all methods; of several tables that have some of a method on a task, the first counts."""
    curves: Curves = {}
    for task, (folder, config) in MHER.items():
        kept = read_kept(RESULTS / folder / "curves.csv")
        runs = [curve for name, curve in kept.items() if name.startswith(f"{config}/mher/")]
        curves[task, "mher"] = [[Point(own.env_steps, own.wall_s, own.success_rate) for own in run] for run in runs]
    for path in [RESULTS / "rivals" / "curves.csv", *sorted((RESULTS / "plus").glob("*/curves.csv"))]:
        found: dict[tuple[str, str], dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
        for row in csv.DictReader(path.open()):
            point = Point(int(row["env_steps"]), float(row["wall_s"]), float(row["success_rate"]))
            found[row["task"], row["algorithm"]][row["seed"]].append(point)
        curves = {key: list(runs.values()) for key, runs in found.items()} | curves
    return curves


def draw(curves: Curves, x: str, episodes: list[int]) -> Figure:
    """Draw the methods on the tasks of `mher_plus`.

    Args:
        curves: of all methods.
        x: what to draw by, `env_steps` or `wall_s`.
        episodes: of an evaluation, in ascending order.
    """
    tasks: dict[str, dict[str, Curve]] = defaultdict(dict)
    for (task, method), runs in sorted(curves.items()):
        if method in METHODS and (task, "mher_plus") in curves:
            early = [[point for point in run if point.env_steps <= MOST_STEPS] for run in runs]
            places = np.median([[getattr(point, x) for point in run] for run in early], axis=0)  # [E]
            tasks[task][method] = places, np.array([[point.success_rate for point in run] for run in early])
    return draw_curves(tasks, episodes, X_LABELS[x])


def main() -> None:
    """Draw both figures."""
    curves = read_curves()
    draw(curves, "env_steps", [25, 100]).savefig(RESULTS / "plus" / "compared.png", dpi=100)
    timed = {key: runs for key, runs in curves.items() if key[0] == "FetchReach-v4" and key[1] != "mher"}
    draw(timed, "wall_s", [100]).savefig(RESULTS / "plus" / "compared_seconds.png", dpi=100)


if __name__ == "__main__":
    main()
