"""The curves on the methods' pages: each page's methods beside MHER and HER, from the kept curves of all methods.

python benchmarks/method_figures.py
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from mher_pl.compare.figure import Curve, draw_curves

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


def main() -> None:
    """Draw all figures."""
    curves = read_curves()
    (RESULTS / "methods" / "pages").mkdir(exist_ok=True)
    for page, methods in PAGES.items():
        shown = {task: {name: of[name] for name in ("mher", "her", *methods)} for task, of in curves.items()}
        draw_curves(shown, EPISODES).savefig(RESULTS / "methods" / "pages" / f"{page}.png", dpi=100)


if __name__ == "__main__":
    main()
