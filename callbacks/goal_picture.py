"""The picture of relabelled goals."""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

MARGIN = 0.1  # between goals and frame, as a share of the goals' extent


class GoalPicture:
    """Achieved, desired and relabelled goals of an episode, the first two dimensions of each; a single one on a line.

    The pictures of a run have one frame, so that they can be compared; it grows where goals lie outside.
    """

    def __init__(self) -> None:
        self.low, self.high = np.full(2, np.inf), np.full(2, -np.inf)  # of the goals so far

    def include(self, goals: Tensor) -> None:
        """Make room for goals [N, goal]."""
        if len(goals) > 0:
            points = plane(goals)
            self.low, self.high = np.minimum(self.low, points.min(axis=0)), np.maximum(self.high, points.max(axis=0))

    def draw(self, batch: TensorDict, relabelled: TensorDict) -> np.ndarray:
        """Draw the goals of an episode [T], as replayed and as relabelled; return the picture, uint8 [H, W, 3]."""
        achieved, desired = batch["next", "achieved_goal"], batch["desired_goal"]
        new = relabelled["imitation_goal"][relabelled["relabelled"]]
        for goals in (achieved, desired, new):
            self.include(goals)
        with matplotlib.rc_context({"font.size": 9}):
            figure = Figure(figsize=(3.6, 3.2), dpi=100, layout="constrained")
            canvas, axes = FigureCanvasAgg(figure), figure.subplots()
            axes.plot(*plane(achieved).T, ".-", color="tab:blue", linewidth=0.5, label="achieved")
            axes.plot(*plane(new).T, "o", color="gold", ms=4, markeredgewidth=0, label="relabelled")
            axes.plot(*plane(desired).T, "*", color="tab:red", markersize=12, label="desired")
            middle = (self.low + self.high) / 2
            half = (0.5 + MARGIN) * max(*(self.high - self.low), 1e-6)
            axes.set(xlabel="goal dimension 1", ylabel="goal dimension 2", box_aspect=1)
            axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
            axes.locator_params(nbins=4)
            figure.legend(loc="outside upper center", ncols=3, frameon=False, columnspacing=1.0)
            canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def plane(goals: Tensor) -> np.ndarray:
    """Return the first two dimensions [N, 2] of goals [N, goal], the second 0 where there is one alone."""
    return F.pad(goals[:, :2], (0, max(0, 2 - goals.shape[1]))).numpy(force=True)
