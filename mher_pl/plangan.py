"""PlanGAN: planning with models and generative adversarial networks (Charlesworth and Montana, arXiv 2006.00900)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.errors import require, require_at_least, require_int, require_positive, require_probability
from mher_pl.gan import Discriminators, Generators
from mher_pl.inputs import Inputs
from mher_pl.one_step import OneStepModels
from mher_pl.parts import describe
from mher_pl.planner import Planner
from mher_pl.task import Task


class PlanGAN(Agent):
    """Generators learn short paths to goals achieved later, one-step models what actions do, and a planner acts.

    In place of an actor stand the generators; states are observations. A batch's rows are paths of `path_length` steps.

    Args:
        task: sizes, state-to-goal map and reward of the environment.
        inputs: what the networks see of observation and goal.
        dynamics: the one-step models.
        planner: how actions are chosen.
        gans: pairs of a generator and a discriminator, E.
        hidden_sizes: units of each hidden layer of generators and discriminators.
        noise_size: entries of a generator's noise z.
        path_length: steps of the paths that generators are trained on, tau.
        gan_share: share of a batch's rows that generators and discriminators learn from; the models do from all.
        min_goal_distance: a state with a goal nearer than this to what it achieves is not learned from.
        agreement_weight: of the one-step models' disagreement in the generators' loss.
        actor_lr: Adam's learning rate for the generators.
        discriminator_lr: Adam's learning rate for the discriminators.
        betas: Adam's, for both.
        weight_decay: Adam's, for both, twice the weight that the sum of squared weights would have in the loss.
        compile: whether `torch.compile` compiles the one-step models.
        seed: of the initial weights and of all randomness in updates and plans.
    """

    actor: Generators
    dynamics: OneStepModels

    def __init__(
        self,
        task: Task,
        inputs: Inputs,
        dynamics: OneStepModels,
        planner: Planner,
        gans: int,
        hidden_sizes: list[int],
        noise_size: int,
        path_length: int,
        gan_share: float,
        min_goal_distance: float,
        agreement_weight: float,
        actor_lr: float,
        discriminator_lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__(task, inputs, None, dynamics, hidden_sizes, actor_lr, compile, seed)
        require_int("model.gans", gans, 1)
        require_int("model.noise_size", noise_size, 1)
        require_int("model.path_length", path_length, 2)
        require(path_length <= task.horizon, "model.path_length", path_length, f"at most {task.horizon}, an episode")
        require_probability("model.gan_share", gan_share)
        require_positive("model.gan_share", gan_share)
        require_at_least("model.min_goal_distance", min_goal_distance, 0.0)
        require_at_least("model.agreement_weight", agreement_weight, 0.0)
        require_positive("model.discriminator_lr", discriminator_lr)
        for beta in betas:
            require(0.0 <= beta < 1.0, "model.betas", betas, "numbers from 0 to below 1")
        require_at_least("model.weight_decay", weight_decay, 0.0)
        self.planner, self.gans, self.noise_size, self.path_length = planner, gans, noise_size, path_length
        self.gan_share, self.min_goal_distance, self.agreement_weight = gan_share, min_goal_distance, agreement_weight
        self.discriminator_lr, self.betas, self.weight_decay = discriminator_lr, betas, weight_decay

    @property
    def least_rows(self) -> int:
        """Rows of a batch that give each generator two, which batch statistics need, and each model one."""
        rows = math.ceil(2 * self.gans / self.gan_share)
        return max(super().least_rows, rows + (int(self.gan_share * rows) < 2 * self.gans))

    def build(self) -> None:
        """Create one-step models, generators and discriminators."""
        self.dynamics.build(self.task)
        state, action = self.task.state_size, self.task.action_size
        self.actor = Generators(self.gans, self.inputs.size, self.noise_size, action, state, self.hidden_sizes)
        self.discriminators = Discriminators(self.gans, self.inputs.size + action + state, self.hidden_sizes)
        for part in (self.planner, self.dynamics):
            describe(part)  # as a checkpoint will

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return one for each of generators, discriminators and one-step models."""
        adam: dict[str, Any] = {"betas": self.betas, "weight_decay": self.weight_decay, "fused": True}
        return {
            "actor": torch.optim.Adam(self.actor.parameters(), lr=self.actor_lr, **adam),
            "discriminators": torch.optim.Adam(self.discriminators.parameters(), lr=self.discriminator_lr, **adam),
            "dynamics": self.dynamics.make_optimizer(),
        }

    # Acting

    @torch.no_grad()
    def act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return planned actions [..., action], on the inputs' own device."""
        return self.planner(self, observation.to(self.device), goal.to(self.device)).to(observation.device)

    # Learning

    def warm_up(self, batches: Iterator[TensorDict]) -> None:
        """Learn from the random episodes before the first epoch, as from all others."""
        for batch in batches:
            self.learn(batch)
            self.tracked.clear()  # what is logged is of training
        self.share_statistics()

    def training_step(self, batches: list[TensorDict], batch_idx: int) -> None:
        """Learn from the batches replayed after an episode."""
        for batch in batches:
            self.learn(batch)
        self.share_statistics()

    @torch.no_grad()
    def share_statistics(self) -> None:
        """Average what the networks hold beside weights, of batches and spectra, over data-parallel workers."""
        if self.trainer.world_size > 1:
            for buffer in (*self.actor.buffers(), *self.discriminators.buffers()):
                buffer.copy_(self.sum_over_workers(buffer) / self.trainer.world_size)

    def learn(self, batch: TensorDict) -> None:
        """Take a step of one-step models, discriminators and generators, in this order, from paths [B, tau]."""
        self.fit_models(batch)
        paths = self.shared_out(batch)  # [E, B', tau]
        self.minimize({"discriminators": self.discriminator_loss(paths)})
        self.minimize({"actor": self.generator_loss(paths)})

    def fit_models(self, batch: TensorDict) -> None:
        """Update the one-step models with one transition of every path."""
        rows = torch.arange(len(batch), device=self.device)
        step = torch.randint(self.path_length, (len(batch),), generator=self.generator, device=self.device)
        loss, metrics = self.dynamics.loss(self.dynamics.examples(batch[rows, step]))
        self.minimize({"dynamics": loss})
        self.track(metrics)

    def shared_out(self, batch: TensorDict) -> TensorDict:
        """Share rows of the batch [B, tau] out to the members of the two ensembles, [E, B', tau]."""
        rows = int(self.gan_share * len(batch)) // self.gans
        return batch[: self.gans * rows].reshape(self.gans, rows, self.path_length)

    def discriminator_loss(self, paths: TensorDict) -> Tensor:
        """Value of real paths minus that of generated ones, summed over the members."""
        with torch.no_grad():
            states, actions = self.generate(paths)
        goals, learned = paths["hindsight_goal"], self.learned(paths)
        real = self.judge(paths["observation"], goals, paths["action"], paths["next", "observation"])
        fake = self.judge(states[..., :-1, :], goals, actions, states[..., 1:, :])
        losses = mean_of(real, learned) - mean_of(fake, learned)  # [E]
        self.track({"train/discriminator_loss": losses.mean()})
        return losses.sum()

    def generator_loss(self, paths: TensorDict) -> Tensor:
        """Value of generated paths, plus the one-step models' disagreement with them, summed over the members."""
        states, actions = self.generate(paths)
        before, after = states[..., :-1, :], states[..., 1:, :]
        fake = mean_of(self.judge(before, paths["hindsight_goal"], actions, after), self.learned(paths))  # [E]
        rows = (part.flatten(0, 2) for part in (before, actions, after))  # [E B' tau, ...]
        disagreement = self.dynamics.disagreement(*rows).view(self.gans, -1).mean(dim=1)  # [E]
        self.track({"train/generator_loss": fake.mean(), "train/disagreement": disagreement.mean()})
        return (fake + self.agreement_weight * disagreement).sum()

    def generate(self, paths: TensorDict) -> tuple[Tensor, Tensor]:
        """Generate paths from the first states of real ones, under their goals.

        Returns:
            States [E, B', tau + 1, state], and actions [E, B', tau, action].
        """
        states, actions = [paths["observation"][..., 0, :]], []
        for goal in paths["hindsight_goal"].unbind(-2):  # [E, B', goal]
            action, reached = self.actor(self.inputs(states[-1], goal), self.generator, learning=True)
            actions.append(action)
            states.append(self.task.keep_shown_goal(self.dynamics.state_normalizer.inverse(reached), states[-1]))
        return torch.stack(states, dim=-2), torch.stack(actions, dim=-2)

    def judge(self, state: Tensor, goal: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Return the discriminators' values [E, B', tau] of transitions [E, B', tau, ...]."""
        parts = [self.inputs(state, goal), action, self.dynamics.state_normalizer(next_state)]
        return self.discriminators(torch.cat(parts, dim=-1).flatten(1, 2)).view(state.shape[:-1])

    def learned(self, paths: TensorDict) -> Tensor:
        """Tell which steps of real paths [E, B', tau] have a goal that their state does not achieve already."""
        distance = torch.linalg.vector_norm(paths["hindsight_goal"] - paths["achieved_goal"], dim=-1)
        return (distance >= self.min_goal_distance).float()

    # Saving

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save also what restores the planner without a trainer."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["agent"]["planner"] = {
            "planner": describe(self.planner),
            "dynamics": describe(self.dynamics),
            "gans": self.gans,
            "noise_size": self.noise_size,
            "seed": self.seed,
        }


def mean_of(values: Tensor, counted: Tensor) -> Tensor:
    """Return each member's mean [E] of those values [E, B', tau] that count."""
    return (values * counted).sum(dim=(1, 2)) / counted.sum(dim=(1, 2)).clamp_min(1.0)
