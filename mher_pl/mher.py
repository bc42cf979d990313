"""MHER: Model-based Hindsight Experience Replay (Algorithm 1)."""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from mher_pl.agent import Agent
from mher_pl.batch_source import BatchSource
from mher_pl.dynamics import EnsembleDynamics
from mher_pl.errors import UserError, require, require_at_least, require_int, require_positive, require_probability
from mher_pl.networks import Critic
from mher_pl.relabel import Relabel, goals_of
from mher_pl.task import Task
from mher_pl.td_target import TDTarget
from mher_pl.workers import gather_from_workers


class MHER(Agent):
    """DDPG on relabelled goals, joined with imitation of the relabelled rows.

    The methods of the paper are this module with other parts: another relabeller, another TD target, another batch
    source, another imitation weight.

    Args:
        task: sizes, state-to-goal map and reward of the environment.
        relabel: which goals a batch is trained under.
        batch_source: which transitions actor and critic are trained on.
        td_target: what the critic learns towards.
        dynamics: the learned model; None where no part of the method uses one.
        imitation_weight: alpha of Eq. 6.
        action_penalty: weight of the mean squared action in the actor's loss.
        discount: gamma.
        polyak: share of the old target network that stays at a target update.
        batches_per_target_update: batches between target updates.
        hidden_sizes: units of each hidden layer of actor and critic.
        actor_lr: Adam's learning rate for the actor.
        critic_lr: Adam's learning rate for the critic.
        min_std: floor of the standard deviation in the input normalisation.
        clip: normalised inputs are clipped to [-clip, clip].
        compile: whether `torch.compile` compiles the networks.
        seed: of the initial weights and of all randomness in the updates.
    """

    def __init__(
        self,
        task: Task,
        relabel: Relabel,
        batch_source: BatchSource,
        td_target: TDTarget,
        dynamics: EnsembleDynamics | None,
        imitation_weight: float,
        action_penalty: float,
        discount: float,
        polyak: float,
        batches_per_target_update: int,
        hidden_sizes: list[int],
        actor_lr: float,
        critic_lr: float,
        min_std: float,
        clip: float,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__(task, hidden_sizes, actor_lr, min_std, clip, compile, seed)
        require_at_least("model.imitation_weight", imitation_weight, 0.0)
        require_at_least("model.action_penalty", action_penalty, 0.0)
        require(0.0 <= discount < 1.0, "model.discount", discount, "a number from 0 to below 1")
        require_probability("model.polyak", polyak)
        require_int("model.batches_per_target_update", batches_per_target_update, 1)
        require_positive("model.critic_lr", critic_lr)
        if imitation_weight > 0.0 and not batch_source.actions_to_imitate:
            raise UserError(
                f"model.imitation_weight is {imitation_weight}; allowed: 0 with {type(batch_source).__name__}, whose "
                "actions are the policy's own"
            )
        self.relabel, self.batch_source, self.td_target = relabel, batch_source, td_target
        self.dynamics = dynamics
        self.imitation_weight, self.action_penalty = imitation_weight, action_penalty
        self.discount, self.polyak, self.critic_lr = discount, polyak, critic_lr
        self.batches_per_target_update = batches_per_target_update
        self.batches = 0  # learned from, in all epochs
        for part in (relabel, batch_source, td_target):
            part.check(task, dynamics)

    def build(self) -> None:
        """Create actor, critic, their targets and the dynamics model."""
        self.actor, self.actor_target = self.make_actor(), self.make_actor().requires_grad_(False)
        self.critic, self.critic_target = self.make_critic(), self.make_critic().requires_grad_(False)
        self.actor_target.load_state_dict(self.actor.state_dict())
        self.critic_target.load_state_dict(self.critic.state_dict())
        if self.dynamics is not None:
            self.dynamics.build(self.task)

    def make_critic(self) -> Critic:
        """Create a critic with fresh weights."""
        return Critic(self.task.observation_size + self.task.goal_size, self.task.action_size, self.hidden_sizes)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return one Adam for each of actor, critic and, if any, dynamics."""
        optimizers = [self.make_optimizer(self.actor, self.actor_lr), self.make_optimizer(self.critic, self.critic_lr)]
        if self.dynamics is not None:
            optimizers.append(self.make_optimizer(self.dynamics, self.dynamics.lr))
        return optimizers

    def training_step(self, batches: list[TensorDict], batch_idx: int) -> dict[str, Tensor]:
        """Learn from the batches replayed after an episode: the inner part of Algorithm 1, lines 7 to 24."""
        actor_optimizer, critic_optimizer, *_ = self.optimizers(use_pl_optimizer=False)
        learned = []
        for batch in batches:  # line 7
            model_loss = self.fit_dynamics(batch)  # line 8
            relabelled = self.relabel(batch, self, self.generator)  # lines 9 to 22
            batch = self.batch_source(relabelled, self, self.generator)
            critic_loss = self.critic_loss(batch)  # line 23
            actor_loss = self.actor_loss(batch)  # line 24

            # Both gradients are taken before either is applied, as the authors' program does.
            self.minimize(critic_optimizer, critic_loss)
            self.minimize(actor_optimizer, actor_loss)
            critic_optimizer.step()
            if len(learned) == len(batches) - 1:  # the episode's last batch
                actor_optimizer = self.counted_optimizer()
            actor_optimizer.step()

            self.batches += 1
            if self.batches % self.batches_per_target_update == 0:
                self.update_targets()
                self.check_finite({"train/critic_loss": critic_loss, "train/actor_loss": actor_loss} | model_loss)
            learned.append(relabelled)
        return goals_of(learned)

    def fit_dynamics(self, batch: TensorDict) -> dict[str, Tensor]:
        """Update the dynamics model with the batch (line 8) and return its last loss by name."""
        if self.dynamics is None or self.dynamics.updates_per_batch == 0:
            return {}
        loss = self.update_dynamics(batch, self.dynamics.updates_per_batch)
        self.track({"train/model_loss": loss})
        return {"train/model_loss": loss}

    def update_dynamics(self, batch: TensorDict, steps: int = 1) -> Tensor:
        """Take gradient steps of the dynamics model (Eq. 4) and return the members' mean loss before the last."""
        *_, optimizer = self.optimizers(use_pl_optimizer=False)
        inputs, change = self.dynamics.examples(batch)
        for _ in range(steps):
            loss = self.dynamics.loss(inputs, change)
            self.minimize(optimizer, loss)
            self.dynamics.clip_gradients(optimizer.param_groups[0]["params"])
            optimizer.step()
        return loss.detach() / self.dynamics.members

    def critic_loss(self, batch: TensorDict) -> Tensor:
        """Mean squared TD error (Eq. 7); rewards lie in [-1, 0], so values in [-1 / (1 - gamma), 0]."""
        with torch.no_grad():
            target = self.td_target(batch, self).clamp(-1.0 / (1.0 - self.discount), 0.0)  # [B]
        value = self.critic(self.inputs(batch["observation"], batch["desired_goal"]), batch["action"])  # [B]
        loss = F.mse_loss(value, target)
        self.track({"train/critic_loss": loss, "train/q_mean": value.mean()})
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

        Averaged over action entries and over the whole batch, which sets alpha's real weight. A batch that brings
        goals for the imitation alone is imitated under those.
        """
        if "imitation_goal" in batch:
            action = self.actor(self.inputs(batch["observation"], batch["imitation_goal"]))
        return ((action - batch["action"]).square().mean(dim=-1) * batch["relabelled"]).mean()

    @torch.no_grad()
    def update_targets(self) -> None:
        """Move the target networks towards the trained ones: target = polyak x target + (1 - polyak) x trained."""
        trained = [*self.actor.parameters(), *self.critic.parameters()]
        targets = [*self.actor_target.parameters(), *self.critic_target.parameters()]
        torch._foreach_lerp_(targets, trained, 1.0 - self.polyak)

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

    def observe(self, episode: TensorDict) -> None:
        """Fold a newly stored episode into the statistics of the inputs and of the dynamics model."""
        super().observe(episode)
        if self.dynamics is not None:
            state, action = episode["observation"].to(self.device), episode["action"].to(self.device)
            self.dynamics.observe(state[:-1], action, state[1:], self.sum_over_workers)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save also the number of batches, and what the batch source keeps, of every worker."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["agent"]["batches"] = self.batches
        checkpoint["batch_source"] = gather_from_workers(self.trainer, self.batch_source.state_dict())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it to go on training."""
        super().on_load_checkpoint(checkpoint)
        self.batches = checkpoint["agent"]["batches"]
        saved = checkpoint.get("batch_source", [])
        if self.trainer.state.fn == "fit" and len(saved) == self.trainer.world_size:
            self.batch_source.load_state_dict(saved[self.trainer.global_rank])
