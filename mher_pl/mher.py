"""MHER: Model-based Hindsight Experience Replay (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.agent import Agent
from mher_pl.batch_source import BatchSource
from mher_pl.critic import Critic
from mher_pl.errors import UserError, require, require_at_least, require_int, require_probability
from mher_pl.inputs import Inputs
from mher_pl.parts import DynamicsModel, require_like
from mher_pl.relabel import Relabel
from mher_pl.task import Task
from mher_pl.td_target import TDTarget


class MHER(Agent):
    """DDPG on relabelled goals, joined with imitation of the relabelled rows.

    The methods of the paper are this module with other parts: another relabeller, another TD target, another batch
    source, another imitation weight.

    Args:
        task: sizes, state-to-goal map and reward of the environment.
        inputs: what the networks see of observation and goal.
        relabel: which goals a batch is trained under.
        batch_source: which transitions actor and critic are trained on.
        td_target: what the critic learns towards.
        critic: values actions.
        dynamics: the learned model; None where no part of the method uses one.
        imitation_weight: alpha of Eq. 6.
        action_penalty: weight of the mean squared action in the actor's loss.
        discount: gamma.
        polyak: share of the old target network that stays at a target update.
        batches_per_actor_update: batches between updates of the actor; the critic learns from each.
        batches_per_target_update: batches between target updates.
        act_with_target: whether the target actor acts, in training and evaluation: it changes less with every batch.
        hidden_sizes: units of each hidden layer of the actor.
        actor_lr: Adam's learning rate for the actor.
        compile: whether `torch.compile` compiles the networks.
        seed: of the initial weights and of all randomness in the updates.
    """

    relabel: Relabel

    def __init__(
        self,
        task: Task,
        inputs: Inputs,
        relabel: Relabel,
        batch_source: BatchSource,
        td_target: TDTarget,
        critic: Critic,
        dynamics: DynamicsModel | None,
        imitation_weight: float,
        action_penalty: float,
        discount: float,
        polyak: float,
        batches_per_actor_update: int,
        batches_per_target_update: int,
        act_with_target: bool,
        hidden_sizes: list[int],
        actor_lr: float,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__(task, inputs, relabel, dynamics, hidden_sizes, actor_lr, compile, seed)
        require_at_least("model.imitation_weight", imitation_weight, 0.0)
        require_at_least("model.action_penalty", action_penalty, 0.0)
        require(0.0 <= discount < 1.0, "model.discount", discount, "a number from 0 to below 1")
        require_probability("model.polyak", polyak)
        require_int("model.batches_per_actor_update", batches_per_actor_update, 1)
        require_int("model.batches_per_target_update", batches_per_target_update, 1)
        if imitation_weight > 0.0 and not batch_source.actions_to_imitate:
            raise UserError(
                f"model.imitation_weight is {imitation_weight}; allowed: 0 with {type(batch_source).__name__}, whose "
                "actions are the policy's own"
            )
        if imitation_weight > 0.0 and not relabel.imitates:
            raise UserError(
                f"model.imitation_weight is {imitation_weight}; allowed: 0 with {type(relabel).__name__}, which has no "
                "actions imitated"
            )
        self.batch_source, self.td_target, self.critic = batch_source, td_target, critic
        self.imitation_weight, self.action_penalty = imitation_weight, action_penalty
        self.discount, self.polyak = discount, polyak
        self.batches_per_actor_update = batches_per_actor_update
        self.batches_per_target_update = batches_per_target_update
        self.acting = "actor_target" if act_with_target else "actor"
        self.batches = 0  # learned from, in all epochs

    def build(self) -> None:
        """Create actor, critic, their targets and the dynamics model."""
        self.actor, self.actor_target = self.make_actor(), self.make_actor().requires_grad_(False)
        self.critic_target = deepcopy(self.critic)
        for critic in (self.critic, self.critic_target):
            critic.build(self.task, self.inputs.size)
        self.critic_target.requires_grad_(False)
        self.actor_target.load_state_dict(self.actor.state_dict())
        self.critic_target.load_state_dict(self.critic.state_dict())
        if self.dynamics is not None:
            self.dynamics.build(self.task)

    def make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return one for each of critic, actor and, if any, dynamics model."""
        optimizers = {"critic": self.critic.make_optimizer(), "actor": self.make_actor_optimizer()}
        if self.dynamics is not None:
            optimizers["dynamics"] = self.dynamics.make_optimizer()
        return optimizers

    def training_step(self, batches: list[TensorDict], batch_idx: int) -> dict[str, list[TensorDict]]:
        """Learn from the batches replayed after an episode: the inner part of Algorithm 1, lines 7 to 24."""
        self.refit_dynamics()
        relabelled = []
        for batch in batches:  # line 7
            self.fit_dynamics(batch)  # line 8
            relabelled.append(self.relabel(batch, self, self.generator))  # lines 9 to 22
            batch = self.batch_source(relabelled[-1], self, self.generator)
            losses = {"critic": self.critic_loss(batch)}  # line 23
            if self.batches % self.batches_per_actor_update == 0:
                losses["actor"] = self.actor_loss(batch)  # line 24
            # Both gradients are taken before either is applied, as the authors' program does.
            self.minimize(losses)
            self.batches += 1
            if self.batches % self.batches_per_target_update == 0:
                self.update_targets()
        return {"relabelled": relabelled}

    def fit_dynamics(self, batch: TensorDict) -> None:
        """Update the dynamics model with the batch (line 8)."""
        if self.dynamics is not None and self.dynamics.updates_per_batch > 0:
            examples = self.dynamics.examples(batch)
            for _ in range(self.dynamics.updates_per_batch):
                loss, metrics = self.dynamics.loss(examples)  # Eq. 4
                self.minimize({"dynamics": loss})
            self.track(metrics)

    def refit_dynamics(self) -> None:
        """Let a dynamics model that learns from all that is stored do so, as MapGo's does."""
        if self.dynamics is not None and self.dynamics.refits:
            batch = self.data.replay.all_transitions().to(self.device)
            metrics = self.dynamics.refit(
                batch, lambda loss: self.minimize({"dynamics": loss}), self.sum_over_workers, self.generator
            )
            self.track(metrics)

    def warm_up(self, batches: Iterator[TensorDict]) -> None:
        """Fit the dynamics model (line 3)."""
        if self.dynamics is not None:
            for batch in batches:
                loss, _ = self.dynamics.loss(self.dynamics.examples(batch))
                self.minimize({"dynamics": loss})

    def critic_loss(self, batch: TensorDict) -> Tensor:
        """Mean squared TD error (Eq. 7); rewards lie in [-1, 0], so values in [-1 / (1 - gamma), 0].

        Raises:
            UserError: the targets have another form, or the values that they are made of.
        """
        with torch.no_grad():
            target = self.td_target(batch, self)  # [B]
            made_of = f"targets, of values of {type(self.critic).__name__},"
            require_like("model.td_target", self.td_target, made_of, target, batch["reward"])
            target = target.clamp(-1.0 / (1.0 - self.discount), 0.0)
        inputs = self.inputs(batch["observation"], batch["desired_goal"])
        loss, value = self.critic.loss(inputs, batch["action"], target)
        self.track({"train/critic_loss": loss, "train/q_mean": value})
        return loss

    def actor_loss(self, batch: TensorDict) -> Tensor:
        """Joint loss -Q + alpha x imitation of the relabelled rows (Eq. 6) + penalty on large actions."""
        inputs = self.inputs(batch["observation"], batch["desired_goal"])
        action = self.actor(inputs)
        value = self.critic(inputs, action).mean()
        imitation = self.imitation_loss(batch, action)
        loss = -value + self.imitation_weight * imitation + self.action_penalty * action.square().mean()
        self.track({"train/actor_loss": loss, "train/imitation_loss": imitation})
        return loss

    def imitation_loss(self, batch: TensorDict, action: Tensor) -> Tensor:
        """Squared error between the actor's [B, action] and the replayed actions, on the relabelled rows (Eq. 5).

        Averaged over action entries and over the whole batch, which sets alpha's real weight.
        """
        if batch["imitation_goal"] is not batch["desired_goal"]:  # else the actor has acted under it already
            action = self.actor(self.inputs(batch["observation"], batch["imitation_goal"]))
        return ((action - batch["action"]).square().mean(dim=-1) * batch["imitated"]).mean()

    @torch.no_grad()
    def update_targets(self) -> None:
        """Move the target networks towards the trained ones: target = polyak x target + (1 - polyak) x trained."""
        trained: list[Tensor] = [*self.actor.parameters(), *self.critic.parameters()]
        targets: list[Tensor] = [*self.actor_target.parameters(), *self.critic_target.parameters()]
        # Private, and what torch's own optimisers use: one call for all, where one for each takes as long as a layer.
        torch._foreach_lerp_(targets, trained, 1.0 - self.polyak)
        for target, own in zip(self.critic_target.buffers(), self.critic.buffers(), strict=True):
            target.copy_(own)  # statistics that a critic may have

    @torch.inference_mode()
    def target_act(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return the target actor's actions [B, action]."""
        return self.actor_target(self.inputs(observation, goal))

    @torch.inference_mode()
    def target_value(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Return Q'(s, pi'(s, g), g) [B] of the target networks."""
        inputs = self.inputs(observation, goal)
        return self.critic_target(inputs, self.actor_target(inputs))

    @torch.no_grad()
    def value(self, observation: Tensor, goal: Tensor, action: Tensor) -> Tensor:
        """Return Q(s, a, g) [...] of observations [..., obs], goals [..., goal] and actions [..., action]."""
        inputs = self.inputs(observation.to(self.device), goal.to(self.device))
        return self.critic(inputs, action.to(self.device))

    def get_extra_state(self) -> Tensor:
        """Return the number of batches, which goes with the weights into a checkpoint."""
        return torch.tensor(self.batches)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore it."""
        self.batches = int(state)
