"""The picture of relabelled goals."""

import matplotlib
from matplotlib.figure import Figure
from tensordict import TensorDict
from torch.nn import functional as F

from mher_pl.relabel import relabelled_goals


class GoalPicture:
    """Achieved, desired and relabelled goals of an episode, the first two dimensions of each; a single one on a line.

    One figure is drawn again and again: to make its axes and legend takes as long as to draw them.
    """

    def __init__(self) -> None:
        with matplotlib.rc_context({"font.size": 9}):
            self.figure = Figure(figsize=(3.6, 3.2), dpi=100)
            # By hand: a layout engine takes longer than the drawing.
            self.axes = self.figure.add_axes((0.19, 0.155, 0.78, 0.735))
            (self.achieved,) = self.axes.plot([], ".-", color="tab:blue", linewidth=0.5, label="achieved")
            (self.relabelled,) = self.axes.plot([], "o", color="gold", ms=4, markeredgewidth=0, label="relabelled")
            (self.desired,) = self.axes.plot([], "*", color="tab:red", markersize=12, label="desired")
            self.axes.set(xlabel="goal dimension 1", ylabel="goal dimension 2")
            self.axes.set_aspect("equal", adjustable="datalim")
            self.axes.locator_params(nbins=4)  # text is most of the drawing
            self.figure.legend(loc="upper center", ncols=3)

    def draw(self, batch: TensorDict, relabelled: TensorDict) -> Figure:
        """Put in the goals of an episode [T], as replayed and as relabelled."""
        goals = {
            self.achieved: batch["next", "achieved_goal"],
            self.relabelled: relabelled_goals(relabelled)[relabelled["relabelled"]],
            self.desired: batch["desired_goal"],
        }
        for line, points in goals.items():
            plane = F.pad(points[:, :2], (0, max(0, 2 - points.shape[1])))
            line.set_data(*plane.T.numpy(force=True))
        self.axes.relim()
        self.axes.autoscale_view()
        return self.figure
