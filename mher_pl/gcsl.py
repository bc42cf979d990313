"""GCSL: Goal-Conditioned Supervised Learning (Appendix D.2)."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.relabel import Relabel, goals_of, relabelled_goals
from mher_pl.task import Task


class GCSL(Agent):
    """An actor alone that imitates replayed actions under goals achieved after them; no critic, no target network.

    Args:
        task: sizes, state-to-goal map and reward of the environment.
        relabel: which goals a batch is trained under.
        hidden_sizes: units of each hidden layer of the actor.
        actor_lr: Adam's learning rate.
        min_std: floor of the standard deviation in the input normalisation.
        clip: normalised inputs are clipped to [-clip, clip].
        compile: whether `torch.compile` compiles the networks.
        seed: of the initial weights and of all randomness in the updates.
    """

    def __init__(
        self,
        task: Task,
        relabel: Relabel,
        hidden_sizes: list[int],
        actor_lr: float,
        min_std: float,
        clip: float,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__(task, hidden_sizes, actor_lr, min_std, clip, compile, seed)
        self.relabel = relabel
        relabel.check(task, dynamics=None)

    def build(self) -> None:
        """Create the actor."""
        self.actor = self.make_actor()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam for the actor."""
        return self.make_optimizer(self.actor, self.actor_lr)

    def training_step(self, batches: list[TensorDict], batch_idx: int) -> dict[str, Tensor]:
        """Learn from the batches replayed after an episode."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        learned = []
        for batch in batches:
            relabelled = self.relabel(batch, self, self.generator)
            loss = self.imitation_loss(relabelled)
            self.minimize(optimizer, loss)
            if len(learned) == len(batches) - 1:  # the episode's last batch
                optimizer = self.counted_optimizer()
            optimizer.step()
            self.check_finite({"train/imitation_loss": loss})
            learned.append(relabelled)
        return goals_of(learned)

    def imitation_loss(self, batch: TensorDict) -> Tensor:
        """Mean squared error between the actor's and the replayed actions."""
        action = self.actor(self.inputs(batch["observation"], relabelled_goals(batch)))
        loss = (action - batch["action"]).square().mean()
        self.track({"train/imitation_loss": loss})
        return loss
