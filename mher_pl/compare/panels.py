"""The figure of a sweep that has panels, from runs on disk and kept ones."""

import numpy as np
from matplotlib.figure import Figure

from mher_pl.compare.figure import Curve, draw_curves
from mher_pl.compare.grid import Sweep
from mher_pl.compare.kept import KeptRuns
from mher_pl.compare.runs import CurvePoint, IncompleteRun
from mher_pl.errors import UserError


def collect_curves(sweep: Sweep, kept: KeptRuns) -> KeptRuns:
    """Return the curves of the sweep's cells that are finished, from their own run before a kept one."""
    curves = {}
    for cell in sweep.cells():
        try:
            curves[cell.name] = cell.finished_run().curve
        except IncompleteRun:
            if cell.name in kept:
                curves[cell.name] = kept[cell.name]
    return curves


def common_epochs(members: list[list[CurvePoint]]) -> Curve:
    """Return the epochs that the curves of all seeds have [E], and the success rates [seed, E] there."""
    rates = [{point.epoch: point.success_rate for point in member} for member in members]
    epochs = sorted(set.intersection(*map(set, rates)))
    return epochs, np.array([[rate[epoch] for epoch in epochs] for rate in rates])


def draw_panels(sweep: Sweep, curves: KeptRuns) -> Figure:
    """Draw a sweep's panels, each curve from the seeds that are finished, as far as the shortest of them goes.

    Raises:
        UserError: no cell is finished, or the seeds of a curve have no epoch in common.
    """
    panels: dict[str, dict[str, Curve]] = {}
    for title, panel in sweep.panels.items():
        for label, method in panel.curves.items():
            names = ["/".join(sweep.folder(panel.task, method, seed).parts[-3:]) for seed in sweep.seeds]
            members = [curves[name] for name in names if name in curves]
            if not members:
                continue
            epochs, rates = common_epochs(members)
            if not epochs:
                raise UserError(f"{names[0]} and its other seeds have no epoch in common; allowed: seeds run alike")
            panels.setdefault(title, {})[label] = epochs, rates
    if not panels:
        raise UserError(f"out is {sweep.out}; allowed: a folder with at least one finished cell of the sweep")
    episodes = sweep.overrides.get("evaluation.episodes")
    return draw_curves(panels, [episodes] if isinstance(episodes, int) else [])
