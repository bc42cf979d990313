"""Relabelled goals as a number and as a picture."""

from copy import deepcopy
from typing import Any

import torch
from lightning import Callback, Trainer
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.callbacks.goal_picture import draw_goals
from mher_pl.callbacks.picture import log_picture
from mher_pl.data import data_of
from mher_pl.errors import require_int


class RelabelGoalLogger(Callback):
    """Log how far relabelled goals lie from the original ones, and draw them for the last episode (Figure 4).

    Args:
        every_n_epochs: epochs between pictures; 0 draws none.
    """

    def __init__(self, every_n_epochs: int) -> None:
        require_int("relabel_goals.every_n_epochs", every_n_epochs, 0)
        self.every_n_epochs = every_n_epochs

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: Agent,
        outputs: dict[str, list[TensorDict]] | None,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Track the distance of an episode's goals; its mean over the epoch is logged with those of the losses."""
        if outputs and outputs.get("relabelled"):
            pl_module.track({"relabel/goal_distance": mean_distance(outputs["relabelled"])})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Agent) -> None:
        """Log the picture when it is due."""
        data = data_of(trainer)
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if due and pl_module.relabel is not None and trainer.loggers:
            # A generator of its own, and the relabeller as it was: looking at the run must not change it.
            generator = torch.Generator(pl_module.device).manual_seed(data.env_steps)
            batch = data.replay.last_episode(torch.Generator().manual_seed(data.env_steps)).to(pl_module.device)
            state = deepcopy(pl_module.relabel.worker_state())
            figure = draw_goals(batch, pl_module.relabel(batch, pl_module, generator))
            pl_module.relabel.load_worker_state(state)
            log_picture(trainer, "relabel/goals", figure, data.env_steps)


def mean_distance(batches: list[TensorDict]) -> Tensor:
    """Return the mean distance [] between original and relabelled goals, over the rows and then over the batches."""
    means = []
    for batch in batches:  # a relabeller may leave rows out, of one batch more than of another
        distance = torch.linalg.vector_norm(batch["imitation_goal"] - batch["original_goal"], dim=-1)  # [B]
        means.append((distance * batch["relabelled"]).sum() / batch["relabelled"].sum().clamp_min(1))
    return torch.stack(means).mean()
