"""Where the transitions come from that actor and critic are trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from tensordict import TensorDict

from mher_pl.dynamics import virtual_path
from mher_pl.errors import UserError, require_at_least, require_int, require_probability
from mher_pl.memory import require_memory
from mher_pl.parts import DynamicsModel, Learner, Part
from mher_pl.task import Task


class BatchSource(Part, ABC):
    """Turns a replayed and relabelled batch into the one that actor and critic are trained on."""

    actions_to_imitate = True  # whether there are replayed actions among those of the batch

    @abstractmethod
    def __call__(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Return the batch to train on; `learner` lends its policy and its model, `generator` all randomness."""


class Replayed(BatchSource):
    """Train on the replayed transitions themselves."""

    def __call__(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Return the batch as it is."""
        return batch


class ModelRollouts(BatchSource):
    """MBPO: train on virtual transitions alone (Appendix D.3).

    From each replayed state the policy that acts, with exploration noise, goes some steps through the dynamics model
    under the batch's goal. All steps enter a buffer, the oldest leaving when it is full; the batch is drawn from it.

    Args:
        steps: length n of the virtual paths.
        noise: standard deviation of Gaussian noise on the virtual actions.
        capacity: virtual transitions that the buffer holds.
    """

    uses_model = True
    actions_to_imitate = False
    random_action_probability = 0.0  # of virtual actions

    def __init__(self, steps: int, noise: float, capacity: int) -> None:
        require_int("model.batch_source.steps", steps, 1)
        require_at_least("model.batch_source.noise", noise, 0.0)
        require_int("model.batch_source.capacity", capacity, 1)
        self.steps, self.noise, self.capacity = steps, noise, capacity
        self.buffer: TensorDict | None = None  # [capacity], of which the first `filled` rows count
        self.filled = self.cursor = 0

    def check(self, task: Task, dynamics: DynamicsModel | None = None) -> None:
        """Raise `UserError` where there is no model, or too little memory for the buffer."""
        super().check(task, dynamics)
        require_memory("model.batch_source.capacity", self.capacity, self.capacity * task.transition_bytes)

    def __call__(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Extend the buffer from the replayed states and draw as many of its transitions as the batch has."""
        self.store(self.roll_out(batch, learner, generator))
        return self.sample(len(batch), generator)

    @torch.no_grad()
    def roll_out(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Return the virtual transitions [n x B] from the batch's states."""
        task, goal = learner.task, batch["desired_goal"]
        state = task.state(batch["observation"], batch["achieved_goal"])
        rows = [len(batch)] * self.steps
        exploration = self.noise, generator, self.random_action_probability
        path = list(virtual_path(learner, learner.act, state, goal, rows, *exploration))
        actions, states = [action for action, _ in path], [reached for _, reached in path]
        before, after = torch.cat([state, *states[:-1]]), torch.cat(states)  # [n x B, state]
        goals, reached = goal.repeat(self.steps, 1), task.phi(after)  # [n x B, goal]
        reward = task.reward(reached, goals)
        nowhere = torch.zeros_like(reward, dtype=torch.bool)
        return TensorDict(
            {
                "observation": task.observation(before),
                "achieved_goal": task.phi(before),
                "action": torch.cat(actions),
                "desired_goal": goals,
                "reward": reward,
                "relabelled": nowhere,
                "imitated": nowhere,  # no virtual action is
                "failed": nowhere,  # the model knows nothing of failures
                "terminated": task.ends(reward),
                "next": TensorDict(
                    {"observation": task.observation(after), "achieved_goal": reached}, batch_size=[len(goals)]
                ),
            },
            batch_size=[len(goals)],
        )

    def store(self, rows: TensorDict) -> None:
        """Write virtual transitions into the buffer, over the oldest ones where it is full."""
        rows = rows[-self.capacity :]
        device = rows["reward"].device
        if self.buffer is None:
            self.buffer = self._allocate(rows)
        elif self.buffer["reward"].device != device:  # loaded before the networks moved to their device
            self.buffer = self.buffer.to(device)
        places = (torch.arange(len(rows), device=device) + self.cursor) % self.capacity
        self.buffer[places] = rows
        self.cursor = (self.cursor + len(rows)) % self.capacity
        self.filled = min(self.filled + len(rows), self.capacity)

    def sample(self, size: int, generator: torch.Generator) -> TensorDict:
        """Draw transitions [size] uniformly from the buffer, which is not empty."""
        assert self.buffer is not None
        device = self.buffer["reward"].device
        batch = self.buffer[torch.randint(self.filled, (size,), generator=generator, device=device)]
        batch["imitation_goal"] = batch["desired_goal"]
        return batch

    def worker_state(self) -> dict[str, Any]:
        """Return the filled part of the buffer and the write position."""
        if self.buffer is None:
            return {}
        rows = self.buffer[: self.filled].clone()
        return {"rows": rows.to_dict(), "capacity": self.capacity, "cursor": self.cursor}

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore what `worker_state` returned.

        Raises:
            UserError: the buffer was saved with another capacity.
        """
        if not state:
            return
        if state["capacity"] != self.capacity:
            raise UserError(
                f"model.batch_source.capacity is {self.capacity}; allowed: the {state['capacity']} of ckpt_path"
            )
        self.filled, self.cursor = len(state["rows"]["reward"]), state["cursor"]
        rows = TensorDict(state["rows"], batch_size=[self.filled])
        self.buffer = self._allocate(rows)
        self.buffer[: self.filled] = rows

    def _allocate(self, like: TensorDict) -> TensorDict:
        return like.apply(lambda rows: rows.new_empty(self.capacity, *rows.shape[1:]), batch_size=[self.capacity])


class MixedRollouts(ModelRollouts):
    """MapGo's universal model policy optimisation: a few replayed transitions, the others virtual (Zhu et al. 2021).

    The replayed ones keep the goals that they were relabelled with. The virtual paths go, now and then with a uniform
    action, towards a goal achieved later in the replayed episode or, some of them, towards the episode's own.

    Args:
        steps: length of the virtual paths.
        noise: standard deviation of Gaussian noise on the virtual actions.
        random_action_probability: chance of a uniform virtual action in place of the policy's.
        hindsight_ratio: share of the paths that go towards a goal achieved later.
        real_share: share of replayed transitions in a batch.
        capacity: virtual transitions that the buffer holds.
    """

    def __init__(
        self,
        steps: int,
        noise: float,
        random_action_probability: float,
        hindsight_ratio: float,
        real_share: float,
        capacity: int,
    ) -> None:
        super().__init__(steps, noise, capacity)
        require_probability("model.batch_source.random_action_probability", random_action_probability)
        require_probability("model.batch_source.hindsight_ratio", hindsight_ratio)
        require_probability("model.batch_source.real_share", real_share)
        self.random_action_probability = random_action_probability
        self.hindsight_ratio, self.real_share = hindsight_ratio, real_share
        self.actions_to_imitate = real_share > 0.0

    def __call__(self, batch: TensorDict, learner: Learner, generator: torch.Generator) -> TensorDict:
        """Extend the buffer from the replayed states, and draw as many of its transitions as replayed ones leave."""
        starts, goal = batch.copy(), batch["original_goal"]
        hindsight = torch.rand(len(batch), 1, generator=generator, device=goal.device) < self.hindsight_ratio
        starts["desired_goal"] = torch.where(hindsight, batch["hindsight_goal"], goal)
        self.store(self.roll_out(starts, learner, generator))
        real = round(self.real_share * len(batch))  # the first rows; a relabeller may order them (CHER's does)
        virtual = self.sample(len(batch) - real, generator)
        mixed = TensorDict.cat([batch[:real].select(*virtual.keys(include_nested=True, leaves_only=True)), virtual])
        if batch["imitation_goal"] is batch["desired_goal"]:
            mixed["imitation_goal"] = mixed["desired_goal"]  # the same tensor again, which the losses look for
        return mixed
