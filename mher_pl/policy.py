"""The learned policy without a trainer: loaded from a checkpoint, or exported to run without this package."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from mher_pl.errors import OneLineParser, UserError
from mher_pl.gan import Generators
from mher_pl.inputs import Inputs
from mher_pl.inspection import inspect_task
from mher_pl.networks import Actor
from mher_pl.one_step import OneStepModels
from mher_pl.parts import rebuild
from mher_pl.planner import Planner
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file, local_path
from mher_pl.task import Shape


class PolicyNetwork(nn.Module):
    """Deterministic policy pi(s, g) on raw observations and goals, of tensors only."""

    def __init__(self, inputs: Inputs, actor: Actor) -> None:
        super().__init__()
        self.inputs, self.actor = inputs, actor

    def forward(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Map observations [B, obs] and goals [B, goal] to actions [B, action]."""
        return self.actor(self.inputs(observation, goal))


class PlannedPolicy(nn.Module):
    """PlanGAN's planner on raw observations and goals, with what it imagines paths with.

    The task that its environment is of tells which imagined states are at the goal.

    Args:
        saved: what a checkpoint says of the agent.

    Raises:
        UserError: the environment cannot be made.
    """

    def __init__(self, saved: Mapping[str, Any]) -> None:
        super().__init__()
        shape, own = Shape(**saved["task"]), saved["planner"]
        module, colon, _ = shape.env.partition(":")
        if colon and module not in sys.modules:  # as with parts: a checkpoint imports nothing
            raise UserError(
                f"ckpt_path names a checkpoint of {shape.env}; allowed: a task whose module was imported before"
            )
        assert shape.goal_indices is not None  # `Planner.check` has seen to it
        indices = list(shape.goal_indices), list(shape.desired_goal_indices)
        self.task = inspect_task(shape.env, own["env_kwargs"], *indices)
        self.inputs, self.dynamics = rebuild(saved["inputs"], Inputs), rebuild(own["dynamics"], OneStepModels)
        self.inputs.build(shape)
        self.dynamics.build(self.task)
        sizes = self.inputs.size, own["noise_size"], shape.action_size, self.task.state_size
        self.actor = Generators(own["gans"], *sizes, saved["hidden_sizes"])
        self.planner, self.seed = rebuild(own["planner"], Planner), own["seed"]

    def forward(self, observation: Tensor, goal: Tensor) -> Tensor:
        """Map observations [..., obs] and goals [..., goal] to actions [..., action]."""
        return self.planner(self, observation, goal)


class Policy:
    """A learned policy as a function of observations and goals, with actions in [-1, 1], as `mher_pl.make` takes them.

    Args:
        env: Gymnasium id of the task it was trained on.
        observation_size: entries of an observation.
        goal_size: entries of a goal.
        network: computes the actions.
    """

    def __init__(self, env: str, observation_size: int, goal_size: int, network: PolicyNetwork | PlannedPolicy) -> None:
        self.env, self.observation_size, self.goal_size, self.network = env, observation_size, goal_size, network

    @torch.inference_mode()
    def __call__(
        self, observation: ArrayLike | Tensor | Mapping[str, Any] | None, goal: ArrayLike | Tensor | None = None
    ) -> np.ndarray | Tensor:
        """Return float32 actions [..., action] for observations [..., obs] and goals [..., goal].

        The observation may be the environment's dict, which holds the goal. A tensor is answered by a tensor,
        everything else by an array.

        Raises:
            UserError: an input is missing or of another size than in training.
        """
        if isinstance(observation, Mapping):
            return self(observation.get("observation"), observation.get("desired_goal"))
        if observation is None or goal is None:
            missing = "goal" if goal is None else "observation"
            raise UserError(
                f"{missing} is None; allowed: both, or as observation a dict with observation and desired_goal"
            )
        actions = self.network(
            self._input("observation", observation, self.observation_size), self._input("goal", goal, self.goal_size)
        )
        return actions.to(observation.device) if isinstance(observation, Tensor) else actions.numpy(force=True)

    def _input(self, name: str, value: ArrayLike | Tensor, size: int) -> Tensor:
        value = torch.as_tensor(value, dtype=torch.float32, device=self.network.inputs.normalizer.mean.device)
        if value.ndim == 0 or value.shape[-1] != size:
            raise UserError(f"{name} has shape {list(value.shape)}; allowed for {self.env}: [..., {size}]")
        return value


def load_policy(path: str | Path, device: str | torch.device = "cpu") -> Policy:
    """Load the policy of a run's folder (its last checkpoint) or of a checkpoint file.

    Of the file only the policy's own weights stay in memory, however large the replay beside them. A
    planner makes its environment once, for the rewards.

    Raises:
        UserError: there is no such checkpoint, it is not one of mher_pl's, or its method has no actor.
    """
    path = checkpoint_file(path)
    checkpoint = read_checkpoint(path)
    agent, weights = checkpoint["agent"], checkpoint["state_dict"]
    task = Shape(**agent["task"])
    network: PolicyNetwork | PlannedPolicy
    if "planner" in agent:
        network = PlannedPolicy(agent)
    else:
        inputs = rebuild(agent["inputs"], Inputs)
        inputs.build(task)
        network = PolicyNetwork(inputs, Actor(inputs.size, task.action_size, agent["hidden_sizes"]))
    saved = {name: re.sub("^actor", agent["acting"], name) for name in network.state_dict()}
    if not weights.keys() >= set(saved.values()):
        raise UserError(f"{path} holds no actor; allowed: checkpoints of methods that learn a policy")
    network.load_state_dict({name: weights[other] for name, other in saved.items()})
    return Policy(task.env, task.observation_size, task.goal_size, network.to(device).requires_grad_(False))


def export_policy(policy: Policy, path: str | Path) -> None:
    """Write the policy as a `torch.export` program of observations [B, obs] and goals [B, goal], for any B.

    `torch.export.load(path).module()(observations, goals)` runs it wherever torch is installed.

    Raises:
        UserError: the policy is a planner, which asks the task for rewards.
    """
    if isinstance(policy.network, PlannedPolicy):
        raise UserError(
            "CKPT names a checkpoint of a planner, which needs its task; allowed: methods with an actor, or "
            "mher_pl.load_policy"
        )
    batch = torch.export.Dim("batch")
    example = torch.zeros(2, policy.observation_size), torch.zeros(2, policy.goal_size)
    program = torch.export.export(policy.network, example, dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(program, path)


def main(argv: list[str]) -> int:
    """Run `export`."""
    parser = OneLineParser("python -m mher_pl export", description="Write a learned policy as a torch.export program.")
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint, or a run's folder, whose last one it is")
    parser.add_argument(
        "--out",
        type=partial(local_path, setting="--out"),
        default=Path("policy.pt2"),
        help="the file to write (policy.pt2)",
    )
    options = parser.parse_args(argv)
    policy = load_policy(options.checkpoint)
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        export_policy(policy, options.out)
    except (OSError, RuntimeError) as error:  # torch reports a file that cannot be opened as RuntimeError
        raise UserError(f"--out is {str(options.out)!r} ({error}); allowed: a file that can be written") from error
    print(f"{options.out}: {policy.env}, observation [B, {policy.observation_size}], goal [B, {policy.goal_size}]")
    return 0
