"""The picture of relabelled goals."""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from mher_pl.relabel import relabelled_goals

MARGIN = 0.1  # between goals and frame, as a share of the goals' extent


class GoalPicture:
    """Achieved, desired and relabelled goals of an episode, the first two dimensions of each; a single one on a line.

    The pictures of a run have one frame, so that they can be compared; it grows where goals lie outside. Frame and text
    are most of the work, and are drawn again only then.
    """

    def __init__(self) -> None:
        with matplotlib.rc_context({"font.size": 9}):
            figure = Figure(figsize=(3.6, 3.2), dpi=100)
            self.canvas = FigureCanvasAgg(figure)
            # By hand: a layout engine takes longer than the drawing.
            self.axes = figure.add_axes((0.19, 0.155, 0.78, 0.735))
            (self.achieved,) = self.axes.plot([], ".-", color="tab:blue", linewidth=0.5, label="achieved")
            (self.relabelled,) = self.axes.plot([], "o", color="gold", ms=4, markeredgewidth=0, label="relabelled")
            (self.desired,) = self.axes.plot([], "*", color="tab:red", markersize=12, label="desired")
            self.axes.set(xlabel="goal dimension 1", ylabel="goal dimension 2")
            self.axes.locator_params(nbins=4)
            figure.legend(loc="upper center", ncols=3)
        for line in self.axes.lines:
            line.set_animated(True)  # drawn over the frame, not with it
        self.frame = None
        self.low, self.high = np.full(2, np.inf), np.full(2, -np.inf)  # what it was drawn around

    def hold(self, goals: Tensor) -> None:
        """Make room for goals [N, goal], beside all that there was room for."""
        points = plane(goals)
        view = self.axes.viewLim
        if self.frame is not None and (points >= view.min).all() and (points <= view.max).all():
            return
        self.low, self.high = np.minimum(self.low, points.min(axis=0)), np.maximum(self.high, points.max(axis=0))
        size = self.axes.bbox.size  # in pixels, each as long in both dimensions
        half = (0.5 + MARGIN) * max(*((self.high - self.low) / size), 1e-6) * size
        middle = (self.low + self.high) / 2
        (left, bottom), (right, top) = middle - half, middle + half
        self.axes.set(xlim=(left, right), ylim=(bottom, top))
        self.canvas.draw()
        self.frame = self.canvas.copy_from_bbox(self.canvas.figure.bbox)

    def draw(self, batch: TensorDict, relabelled: TensorDict) -> np.ndarray:
        """Draw the goals of an episode [T], as replayed and as relabelled; return the picture, uint8 [H, W, 3]."""
        goals = {
            self.achieved: batch["next", "achieved_goal"],
            self.relabelled: relabelled_goals(relabelled)[relabelled["relabelled"]],
            self.desired: batch["desired_goal"],
        }
        for points in goals.values():
            if len(points) > 0:
                self.hold(points)
        self.canvas.restore_region(self.frame)
        for line, points in goals.items():
            line.set_data(*plane(points).T)
            self.axes.draw_artist(line)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()


def plane(goals: Tensor) -> np.ndarray:
    """Return the first two dimensions [N, 2] of goals [N, goal], the second 0 where there is one alone."""
    return F.pad(goals[:, :2], (0, max(0, 2 - goals.shape[1]))).numpy(force=True)
