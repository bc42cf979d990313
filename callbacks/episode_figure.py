"""The picture of an episode in the course of time."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from mher_pl.callbacks.goal_picture import MARGIN, coordinates


class EpisodeFigure:
    """Achieved, desired and relabelled goals of an episode up to a step, and below them the critic's values.

    Of goals the first two dimensions are drawn.

    Args:
        title: above the picture.
        achieved: goals [T, goal] achieved after each step.
        desired: goals [T, goal] that the steps were taken under.
        relabelled: goals [T, goal] in their place, NaN where they stay; None without a relabeller.
        values: Q(s, a, g) [T] of the steps; None without a critic.
    """

    def __init__(
        self, title: str, achieved: Tensor, desired: Tensor, relabelled: Tensor | None, values: Tensor | None
    ) -> None:
        figure = Figure(figsize=(3.6, 4.8), dpi=100)
        self._canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.16, 0.36, 0.8, 0.53))
        figure.suptitle(title, y=0.985, fontsize=9)
        curves: list[tuple[Tensor, str, dict[str, Any]]] = [
            (achieved, ".-", {"color": "tab:blue", "linewidth": 0.5, "label": "achieved"})
        ]
        if relabelled is not None:
            curves.append((relabelled, "o", {"color": "gold", "markersize": 4, "label": "relabelled"}))
        curves.append((desired, "*", {"color": "tab:red", "markersize": 12, "label": "desired"}))
        self._curves = [
            (coordinates(goals)[:, :2], axes.plot([], [], style, **look)[0]) for goals, style, look in curves
        ]
        points = np.concatenate([points for points, _ in self._curves])
        low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
        middle, half = (low + high) / 2, (0.5 + MARGIN) * max(*(high - low), 1e-6)
        axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), box_aspect=1)
        figure.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.56, 0.955), ncols=3, frameon=False)
        axes.tick_params(labelsize=7)
        if values is not None:
            axes = figure.add_axes((0.16, 0.09, 0.8, 0.17))
            q = values.numpy(force=True)
            axes.set_title("Q(s, a, g)", fontsize=8)
            axes.set(xlim=(0, len(q)), ylim=(q.min() - 0.5, q.max() + 0.5))
            axes.tick_params(labelsize=7)
            points = np.stack([np.arange(len(q)), q], axis=1)
            self._curves.append((points, axes.plot([], [], color="tab:green")[0]))

    def draw(self, step: int) -> np.ndarray:
        """Draw the episode up to a step, from 0; return the picture, uint8 [480, 360, 3]."""
        for points, line in self._curves:
            line.set_data(*points[: step + 1].T)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()
