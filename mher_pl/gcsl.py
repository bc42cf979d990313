"""GCSL: Goal-Conditioned Supervised Learning (Appendix D.2)."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.errors import require
from mher_pl.inputs import Inputs
from mher_pl.relabel import Relabel
from mher_pl.task import Task


class GCSL(Agent):
    """An actor alone that imitates replayed actions under goals achieved after them; no critic, no target network.

    Args:
        task: sizes, state-to-goal map and reward of the environment.
        inputs: what the actor sees of observation and goal.
        relabel: which goals a batch is trained under.
        hidden_sizes: units of each hidden layer of the actor.
        actor_lr: Adam's learning rate.
        compile: whether `torch.compile` compiles the networks.
        seed: of the initial weights and of all randomness in the updates.
    """

    relabel: Relabel

    def __init__(
        self,
        task: Task,
        inputs: Inputs,
        relabel: Relabel,
        hidden_sizes: list[int],
        actor_lr: float,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__(task, inputs, relabel, None, hidden_sizes, actor_lr, compile, seed)
        allowed = "one that relabels a share above 0 to be imitated, for these rows alone are learned from"
        require(relabel.ratio > 0.0 and relabel.imitates, "model.relabel", type(relabel).__name__, allowed)

    def build(self) -> None:
        """Create the actor."""
        self.actor = self.make_actor()

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the actor's."""
        return {"actor": self.make_actor_optimizer()}

    def training_step(self, batches: list[TensorDict], batch_idx: int) -> dict[str, list[TensorDict]]:
        """Learn from the batches replayed after an episode."""
        relabelled = []
        for batch in batches:
            batch = self.relabel(batch, self, self.generator)
            self.minimize({"actor": self.imitation_loss(batch)})
            relabelled.append(batch)
        return {"relabelled": relabelled}

    def imitation_loss(self, batch: TensorDict) -> Tensor:
        """Mean squared error between the actor's and the replayed actions, of the rows to imitate."""
        action = self.actor(self.inputs(batch["observation"], batch["imitation_goal"]))
        error = (action - batch["action"]).square().mean(dim=-1)  # [B]
        loss = (error * batch["imitated"]).sum() / batch["imitated"].sum().clamp_min(1)
        self.track({"train/imitation_loss": loss})
        return loss
