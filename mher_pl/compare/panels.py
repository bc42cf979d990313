"""The figure of a sweep that has panels, from runs on disk and kept ones."""

import numpy as np
from matplotlib.figure import Figure

from mher_pl.compare.figure import Curve, draw_curves
from mher_pl.compare.grid import Sweep
from mher_pl.compare.kept import Curves
from mher_pl.compare.runs import IncompleteRun
from mher_pl.errors import UserError


def collect_curves(sweep: Sweep, kept: Curves) -> Curves:
    """Return the curves of the sweep's cells that are finished, from their own run before a kept one."""
    curves = {}
    for cell in sweep.cells():
        try:
            curves[cell.name] = cell.finished_run().curve
        except IncompleteRun:
            if cell.name in kept:
                curves[cell.name] = kept[cell.name]
    return curves


def draw_panels(sweep: Sweep, curves: Curves) -> Figure:
    """Draw a sweep's panels, each curve from the seeds that are finished.

    Raises:
        UserError: no cell is finished, or the seeds of a curve have other epochs than each other.
    """
    panels: dict[str, dict[str, Curve]] = {}
    for title, panel in sweep.panels.items():
        for label, method in panel.curves.items():
            names = ["/".join(sweep.folder(panel.task, method, seed).parts[-3:]) for seed in sweep.seeds]
            members = [curves[name] for name in names if name in curves]
            if not members:
                continue
            epochs = [[point.epoch for point in member] for member in members]
            if any(other != epochs[0] for other in epochs):
                raise UserError(f"{names[0]} and its other seeds have different epochs; allowed: seeds run alike")
            rates = np.array([[point.success_rate for point in member] for member in members])  # [seed, E]
            panels.setdefault(title, {})[label] = (epochs[0], rates)
    if not panels:
        raise UserError(f"out is {sweep.out}; allowed: a folder with at least one finished cell of the sweep")
    episodes = sweep.overrides.get("evaluation.episodes")
    return draw_curves(panels, [episodes] if isinstance(episodes, int) else [])
