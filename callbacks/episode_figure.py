"""The picture of an episode in the course of time."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3D
from torch import Tensor

from mher_pl.callbacks.goal_picture import axes_in_space, coordinates, frame


class EpisodeFigure:
    """Achieved, desired and relabelled goals of an episode up to a step, and below them the critic's values.

    Goals of three entries or more are drawn in space, by the first three, with shadows on the floor.

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
        figure.suptitle(title, y=0.985, fontsize=9)
        curves: list[tuple[np.ndarray, str, dict[str, Any]]] = [
            (coordinates(achieved), ".-", {"color": "tab:blue", "linewidth": 0.5, "label": "achieved"})
        ]
        if relabelled is not None:
            curves.append((coordinates(relabelled), "o", {"color": "gold", "markersize": 4, "label": "relabelled"}))
        curves.append((coordinates(desired), "*", {"color": "tab:red", "markersize": 12, "label": "desired"}))
        places = np.concatenate([points for points, *_ in curves])
        places = places[~np.isnan(places).any(axis=1)]
        low, high = frame(places)
        axes: Axes
        if places.shape[1] == 3:
            axes = axes_in_space(figure, (0.02, 0.32, 0.94, 0.6), low, high, places)
            floor = np.array([0.0, 0.0, low[2]])
            shadowed = ((curves[0], "-"), (curves[-1], "*"))
            curves += [
                (points * [1, 1, 0] + floor, style, {"color": "0.8", "zorder": 0}) for (points, *_), style in shadowed
            ]
        else:
            axes = figure.add_axes((0.16, 0.36, 0.8, 0.53))
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), box_aspect=1)
        axes.locator_params(nbins=4)
        self._curves = [(points, axes.plot(*points[:1].T, style, **look)[0]) for points, style, look in curves]
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
            shown = points[: step + 1].T
            if isinstance(line, Line3D):
                line.set_data_3d(*shown)
            else:
                line.set_data(*shown)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()
