"""Relabelled goals as a number and as a picture."""

from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.errors import require_int
from mher_pl.goal_picture import GoalPicture


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
        distance = trainer.strategy.reduce(mean_distance(self._kept()).to(pl_module.device))
        data.log_metrics({"relabel/goal_distance": distance.item()})
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
