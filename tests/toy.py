"""A small agent on a made-up task, and batches whose values can be worked out by hand."""

import numpy as np
import torch
from lightning import Callback
from tensordict import TensorDict
from torch import Tensor, nn

from mher_pl.agent import Agent
from mher_pl.batch_source import Replayed
from mher_pl.critic import SingleCritic
from mher_pl.inputs import Inputs
from mher_pl.mher import MHER
from mher_pl.parts import DynamicsModel
from mher_pl.relabel import Future
from mher_pl.task import Task
from mher_pl.td_target import OneStep

DISCOUNT = 0.9


def reached(achieved_goal: np.ndarray, desired_goal: np.ndarray, info: dict) -> np.ndarray:
    """Reward of goals within half a unit."""
    return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > 0.5).astype(np.float32)


def make_task(goal_box: Tensor | None = None, **arguments) -> Task:
    """A task of 3 observation entries, 2 action entries, and goals that are observation entries 2 and 0."""
    known = {"goal_indices": (2, 0), "compute_reward": reached, "goal_box": goal_box}
    return Task("tests/Toy-v0", 10, 3, 2, 2, **known | arguments)


def make_task_of_unclear_goals() -> Task:
    """The same, but two observation entries could make the goal's first one."""
    return make_task(goal_indices=None, unclear_phi="entries [1, 2] of the observation equalled entry 0 of the goal")


class Shift(DynamicsModel):
    """In place of a learned model: every step adds 1 to every entry of the state. Keeps what it was given."""

    updates_per_batch = 0

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def build(self, task: Task) -> None:
        """Have nothing to build."""

    def predict(self, state: Tensor, action: Tensor) -> Tensor:
        """Return the states after a step."""
        self.calls.append((state, action))
        return state + 1.0

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Have nothing to learn."""
        return torch.optim.SGD([nn.Parameter(torch.zeros(()))])

    def examples(self, batch: TensorDict) -> TensorDict:
        """Have nothing to learn."""
        return batch

    def loss(self, examples: TensorDict) -> tuple[Tensor, dict[str, Tensor]]:
        """Have nothing to learn."""
        raise NotImplementedError

    def observe(self, state, action, next_state, reduce) -> None:
        """Have no statistics."""


class Bare(Agent):
    """The least that an agent can be: it acts, and learns nothing."""

    def __init__(self, task=None, inputs=None):
        super().__init__(
            task or make_task(), inputs or Inputs(1e-4, 5.0), None, None, [8], actor_lr=1e-3, compile=False, seed=0
        )

    def build(self):
        self.actor = self.make_actor()

    def make_optimizers(self):
        return {"actor": self.make_actor_optimizer()}

    def training_step(self, batches, batch_idx):
        return None


def make_agent(task: Task | None = None, **parts) -> MHER:
    """A small MHER; `parts` are arguments of it that differ from plain DDPG with a `Shift` model."""
    arguments = {
        "inputs": Inputs(min_std=1e-4, clip=5.0),
        "critic": SingleCritic([8], lr=1e-3),
        "relabel": Future(1.0),
        "batch_source": Replayed(),
        "td_target": OneStep(),
        "dynamics": Shift(),
        "imitation_weight": 0.0,
        "action_penalty": 0.0,
        "discount": DISCOUNT,
        "polyak": 0.75,
        "batches_per_actor_update": 1,
        "batches_per_target_update": 5,
        "act_with_target": False,
        "hidden_sizes": [8],
        "actor_lr": 1e-3,
        "compile": False,
        "seed": 0,
    }
    agent = MHER(task=task or make_task(), **arguments | parts)
    agent.configure_model()
    return agent


def make_batch(rows: int, scale: float = 1.0) -> TensorDict:
    """A batch whose row i is at state 1000 i, acted, and came to state 1000 i + 500; all goals differ.

    Its numbers are multiplied by `scale`; no episode has ended in it.
    """
    states = 1000.0 * torch.arange(rows).unsqueeze(1) + torch.tensor([0.0, 0.1, 0.2])  # [B, 3]
    next_states = states + 500.0
    batch = TensorDict(
        {
            "observation": states,
            "action": torch.linspace(-0.9, 0.9, 2 * rows).view(rows, 2),
            "desired_goal": -1.0 - torch.arange(2.0 * rows).view(rows, 2),
            "achieved_goal": states[:, [2, 0]],
            "hindsight_goal": next_states[:, [2, 0]] + 100.0,
            "next": TensorDict(
                {"observation": next_states, "achieved_goal": next_states[:, [2, 0]]}, batch_size=[rows]
            ),
        },
        batch_size=[rows],
    )
    batch = batch * scale
    batch["steps_left"] = torch.full((rows,), 10)
    batch["failed"] = torch.zeros(rows, dtype=torch.bool)
    return batch


def generator(seed: int = 0) -> torch.Generator:
    """A generator of its own for each test."""
    return torch.Generator().manual_seed(seed)


class Record(Callback):
    """Keeps what the training steps return."""

    def __init__(self) -> None:
        self.outputs = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.outputs.append(outputs)
