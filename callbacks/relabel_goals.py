"""Relabelled goals as a number and as a picture."""

from typing import Any

import matplotlib
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.errors import require_int
from mher_pl.relabel import relabelled_goals


class RelabelGoalLogger(Callback):
    """Log how far relabelled goals lie from the original ones, and draw them for the last episode (Figure 4).

    Args:
        every_n_epochs: epochs between pictures; 0 draws none.
    """

    def __init__(self, every_n_epochs: int) -> None:
        require_int("relabel_goals.every_n_epochs", every_n_epochs, 0)
        self.every_n_epochs = every_n_epochs
        self.outputs: list[dict[str, Tensor]] = []  # of the epoch's training steps
        self.picture: GoalPicture | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Agent, outputs: dict[str, Tensor], batch: Any, batch_idx: int
    ) -> None:
        """Keep the goals until the epoch's end: one calculation then costs less than one for each episode."""
        self.outputs.append(outputs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Log the epoch's mean distance and, when due, the picture."""
        data = trainer.datamodule
        data.log_metrics({"relabel/goal_distance": mean_distance(self._kept()).item()})
        self.outputs.clear()
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            # A generator of its own: looking at the run must not change it.
            generator = torch.Generator(pl_module.device).manual_seed(data.env_steps)
            batch = data.replay.last_episode(torch.Generator().manual_seed(data.env_steps)).to(pl_module.device)
            self.picture = self.picture or GoalPicture()
            figure = self.picture.draw(batch, pl_module.relabel(batch, pl_module, generator))
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    logger.experiment.add_figure("relabel/goals", figure, data.env_steps, close=False)

    def _kept(self) -> dict[str, Tensor]:
        """Return the goals [N, B, goal] and masks [N, B] of the epoch's N batches so far."""
        # Those that came with a checkpoint lie on the CPU.
        return {key: torch.cat([output[key].cpu() for output in self.outputs]) for key in self.outputs[0]}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the goals of an epoch that is not over."""
        return self._kept() if self.outputs else {}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.outputs = [dict(state_dict)] if state_dict else []


def mean_distance(goals: dict[str, Tensor]) -> Tensor:
    """Return the mean distance [] between original and relabelled goals, over the rows and then over the batches."""
    distance = (goals["relabelled_goal"] - goals["original_goal"]).norm(dim=-1) * goals["relabelled"]  # [N, B]
    return (distance.sum(dim=-1) / goals["relabelled"].sum(dim=-1).clamp_min(1)).mean()


class GoalPicture:
    """Achieved, desired and relabelled goals of an episode, the first two dimensions of each.

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
            line.set_data(*points[:, :2].T.numpy(force=True))
        self.axes.relim()
        self.axes.autoscale_view()
        return self.figure
