"""The picture of relabelled goals."""

from itertools import product
from typing import cast

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

MARGIN = 0.07  # between goals and frame, as a share of the longest side of their extent
THINNEST = 0.35  # side of a frame in space, as a share of its longest
BOX = 0.8  # longer side of a frame in space, as a share of the picture
CAMERAS = tuple(product((20, 40, 60), (-65, -45, -25, 25, 45, 65)))  # elevation and azimuth in degrees


def draw_goals(batch: TensorDict, relabelled: TensorDict) -> Figure:
    """Draw what an episode achieved, its own goal, and the goals that it is learned from instead (Figure 4).

    They fill the frame, with one scale for all directions. Goals of three entries or more are drawn in space, by the
    first three, with the path's shadow on the floor; those of a single entry on a line.

    Args:
        batch: the transitions [T] of an episode, in order.
        relabelled: what the relabeller made of them.
    """
    path = coordinates(torch.cat([batch["achieved_goal"][:1], batch["next", "achieved_goal"]]))  # [T+1, 2 or 3]
    own = coordinates(batch["desired_goal"])  # [T, 2 or 3]
    new = coordinates(relabelled["imitation_goal"][relabelled["relabelled"]])
    low, high = frame(np.concatenate([path, own, new]))
    with matplotlib.rc_context({"font.size": 9}):
        in_space = path.shape[1] == 3
        figure = Figure(figsize=(4.0, 4.0), dpi=100, layout=None if in_space else "constrained")
        axes: Axes
        if in_space:
            axes = axes_in_space(figure, (0.0, 0.02, 1.0, 0.94), low, high, np.concatenate([path, own]))
            axes.set(zlabel="dimension 3")
            floor = np.array([0.0, 0.0, low[2]])
            axes.plot(*(path * [1, 1, 0] + floor).T, color="0.8", linewidth=1.2)
            axes.plot(*np.stack([own[-1], own[-1] * [1, 1, 0] + floor]).T, ":", color="tab:red", linewidth=1.0)
        else:
            axes = figure.subplots()
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), box_aspect=1)
        axes.set(xlabel="dimension 1", ylabel="dimension 2")
        axes.locator_params(nbins=3 if in_space else 4)
        axes.plot(*path.T, ".-", color="tab:blue", linewidth=0.8, markersize=4, label="achieved")
        axes.plot(*path[:1].T, "o", color="white", markeredgecolor="tab:blue", markersize=7, label="start")
        axes.plot(
            *new.T, "o", color="gold", markersize=4, markeredgecolor="0.4", markeredgewidth=0.3, label="relabelled"
        )
        axes.plot(*own.T, "*", color="tab:red", markersize=13, markeredgecolor="white", label="original")
        figure.legend(
            loc="upper center" if in_space else "outside upper center",
            ncols=4,
            frameon=False,
            columnspacing=1.0,
            handletextpad=0.3,
            handlelength=1.5,
        )
    return figure


def coordinates(goals: Tensor) -> np.ndarray:
    """Return the first two or three entries [N, 2 or 3] of goals [N, goal], the second 0 where there is one alone."""
    return F.pad(goals[:, :3], (0, max(0, 2 - goals.shape[1]))).double().numpy(force=True)


def frame(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners [2 or 3] of a frame around places [N, 2 or 3]: a square, or a box that hugs them."""
    low, high = places.min(axis=0), places.max(axis=0)
    longest = max(float((high - low).max()), 1e-6)
    thinnest = longest if places.shape[1] == 2 else THINNEST * longest
    half = np.maximum(high - low, thinnest) / 2 + MARGIN * longest
    return (low + high) / 2 - half, (low + high) / 2 + half


def axes_in_space(
    figure: Figure, part: tuple[float, float, float, float], low: np.ndarray, high: np.ndarray, places: np.ndarray
) -> Axes3D:
    """Return axes between two corners, seen from where the places [N, 3] spread over most of the picture.

    Args:
        figure: gets the axes.
        part: of the figure that they take: left, bottom, width, height.
        low: one corner [3], with the least coordinates.
        high: the other [3].
        places: that are to be seen [N, 3].
    """
    camera = max(CAMERAS, key=lambda camera: np.linalg.det(np.cov(places @ _screen(*camera).T, rowvar=False)))
    elevation, azimuth = camera
    box = figure.add_axes(part, projection="3d", elev=elevation, azim=azimuth, proj_type="ortho", computed_zorder=False)
    axes = cast(Axes3D, box)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    sides = high - low
    seen = abs(_screen(*camera)) @ sides  # [2], width and height of the box on the screen
    axes.set_box_aspect(sides, zoom=BOX * float(np.linalg.norm(sides) / seen.max()))
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.labelpad = -6
    axes.tick_params(labelsize=7, pad=-2)
    return axes


def _screen(elevation: float, azimuth: float) -> np.ndarray:
    """Return the directions [2, 3] that a camera sees as right and up."""
    e, a = np.radians([elevation, azimuth])
    return np.array([[-np.sin(a), np.cos(a), 0], [-np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a), np.cos(e)]])
