"""The curves on the methods' pages: each page's methods beside MHER and HER, from the kept curves of all methods.

PlanGAN's are from the runs of the paper's figures.

python benchmarks/method_figures.py
"""

import csv
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np

from mher_pl.compare.figure import Curve, draw_curves
from mher_pl.compare.kept import read_kept

RESULTS = Path(__file__).resolve().parent / "results"
PAGES = {  # figure: the methods that it shows beside MHER and HER
    "mher": [],  # HER's page has it too
    "ablations": ["no_sl", "no_mbr"],
    "cher": ["cher"],
    "mep": ["mep"],
    "gcsl": ["gcsl"],
    "ddpg": ["ddpg"],
    "controls": ["goal_noise", "random_goals"],
    "mve": ["mve", "mve_her"],
    "mbpo": ["mbpo", "mbpo_her"],
    "mapgo": ["mapgo"],
}
EPISODES = [25, 100]  # of an evaluation: on FetchReach, on Point2D


def read_curves() -> dict[str, dict[str, Curve]]:
    """Read the curve of every method by task."""
    rates: dict[str, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for folder in ("methods", "mapgo"):
        with (RESULTS / folder / "curves.csv").open() as file:
            for row in csv.DictReader(file):
                rates[row["task"]][row["algorithm"]][int(row["epoch"])].append(float(row["success_rate"]))
    return {
        task: {name: (list(epochs), np.array(list(epochs.values())).T) for name, epochs in methods.items()}
        for task, methods in rates.items()
    }


def read_plangan() -> dict[str, dict[str, Curve]]:
    """Read the curves of PlanGAN, MHER and HER by task."""
    kept = read_kept(RESULTS / "paper" / "curves.csv")
    curves: dict[str, dict[str, Curve]] = {"point2d": {}, "fetch": {}}
    for task, name in product(curves, ("mher", "her", "plangan")):
        seeds = [points for cell, points in kept.items() if cell.startswith(f"{task}/{name}/")]
        rates = np.array([[point.success_rate for point in points] for points in seeds])
        curves[task][name] = [point.epoch for point in seeds[0]], rates
    return curves


def main() -> None:
    """Draw all figures."""
    curves = read_curves()
    pages = RESULTS / "methods" / "pages"
    pages.mkdir(exist_ok=True)
    for page, methods in PAGES.items():
        shown = {task: {name: of[name] for name in ("mher", "her", *methods)} for task, of in curves.items()}
        draw_curves(shown, EPISODES).savefig(pages / f"{page}.png", dpi=100)
    draw_curves(read_plangan(), [25]).savefig(pages / "plangan.png", dpi=100)


if __name__ == "__main__":
    main()
