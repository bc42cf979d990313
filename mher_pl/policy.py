"""The learned policy without a trainer: loaded, saved alone, or exported to run without this package."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mher_pl.errors import OneLineParser, UserError, require, require_int
from mher_pl.evaluate import Episodes, evaluation_envs, rollout
from mher_pl.gan import Generators
from mher_pl.inputs import Inputs
from mher_pl.inspection import inspect_task
from mher_pl.networks import Actor
from mher_pl.one_step import OneStepModels
from mher_pl.parts import class_path, rebuild
from mher_pl.planner import Planner
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file, local_path
from mher_pl.storage.hub import HUB, download
from mher_pl.streams import Stream, stream_seeds
from mher_pl.task import Shape
from mher_pl.version import __version__

PROGRAM = ".pt2"  # ending of a file with a torch.export program
ALONE = ".safetensors"  # and of one with a policy and nothing else
NO_POLICY = "is damaged or holds no policy of mher_pl; allowed: what save_policy wrote"
FORMAT = 1  # of these files; changes with what `Policy.description` must hold
SHIPPED = Path(__file__).parent / "policies"  # with the package: TASK/METHOD.safetensors


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
        saved: the policy's description.

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
        self.task = inspect_task(shape.env, saved["env_kwargs"], *indices)
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
        description: what it was trained on and what its networks are, as plain data: `task`, `env_kwargs`, `inputs`,
            `hidden_sizes`, and a planner's `planner`.

    Raises:
        UserError: a part is of a module that was not imported.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.description = description
        task = Shape(**description["task"])
        self.env, self.env_kwargs = task.env, description["env_kwargs"]
        self.observation_size, self.goal_size = task.observation_size, task.goal_size
        self.network: PolicyNetwork | PlannedPolicy
        if "planner" in description:
            self.network = PlannedPolicy(description)
        else:
            inputs = rebuild(description["inputs"], Inputs)
            inputs.build(task)
            self.network = PolicyNetwork(inputs, Actor(inputs.size, task.action_size, description["hidden_sizes"]))

    @torch.no_grad()
    def __call__(
        self, observation: ArrayLike | Tensor | Mapping[str, Any] | None, goal: ArrayLike | Tensor | None = None
    ) -> np.ndarray | Tensor:
        """Return float32 actions [..., action] for observations [..., obs] and goals [..., goal].

        The observation may be the environment's dict, which holds the goal, unless another is given. A tensor is
        answered by a tensor, everything else by an array.

        Raises:
            UserError: an input is missing or of another size than in training, or goals are not as many.
        """
        if isinstance(observation, Mapping):
            return self(observation.get("observation"), observation.get("desired_goal") if goal is None else goal)
        if observation is None or goal is None:
            missing = "goal" if goal is None else "observation"
            raise UserError(
                f"{missing} is None; allowed: both, or as observation a dict with observation and desired_goal"
            )
        state = self._input("observation", observation, self.observation_size)
        wanted = self._input("goal", goal, self.goal_size)
        if state.shape[:-1] != wanted.shape[:-1]:
            raise UserError(
                f"observation has shape {list(state.shape)} and goal {list(wanted.shape)}; allowed: as many goals as "
                "observations"
            )
        actions = self.network(state, wanted)
        return actions.to(observation.device) if isinstance(observation, Tensor) else actions.numpy(force=True)

    def _input(self, name: str, value: ArrayLike | Tensor, size: int) -> Tensor:
        value = torch.as_tensor(value, dtype=torch.float32, device=self.network.inputs.normalizer.mean.device)
        if value.ndim == 0 or value.shape[-1] != size:
            raise UserError(f"{name} has shape {list(value.shape)}; allowed for {self.env}: [..., {size}]")
        return value

    def evaluate(self, episodes: int, seed: int = 0) -> Episodes:
        """Run whole episodes of its task, the same that `test` runs in a run of this seed.

        Raises:
            UserError: there is no episode to run, or the environment cannot be made.
        """
        require_int("episodes", episodes, 1)
        shape = Shape(**self.description["task"])
        indices = None if shape.goal_indices is None else list(shape.goal_indices)
        task = inspect_task(self.env, self.env_kwargs, indices, list(shape.desired_goal_indices))
        envs = evaluation_envs(self.env, episodes, **self.env_kwargs)
        try:
            seeds = stream_seeds(episodes, seed, Stream.TEST)
            return rollout(lambda *inputs: torch.as_tensor(self(*inputs)), envs, task, seeds)
        finally:
            envs.close()


def shipped_policies() -> dict[str, Path]:
    """Return the policies of the package by name: `point2d` is MHER's, `point2d/mher_plus` that of another method."""
    files = sorted(SHIPPED.glob(f"*/*{ALONE}"))
    return {file.parent.name if file.stem == "mher" else f"{file.parent.name}/{file.stem}": file for file in files}


def load_policy(path: str | Path, device: str | torch.device = "cpu") -> Policy:
    """Load a policy, in evaluation mode and without gradients.

    Of a checkpoint only the policy's own weights stay in memory, however large the replay beside them. A
    planner makes its environment once, for the rewards.

    Args:
        path: a run's folder `RUN`, for its last checkpoint, `RUN/best`, a checkpoint, a file that `save_policy` wrote,
            a name such as `point2d` or `point2d/mher_plus` of one that the package has, or `hf://user/repo[/file]` for
            one on the Hugging Face Hub.
        device: of its networks.

    Raises:
        UserError: there is no such policy or device, the file is not one of mher_pl's, or its method has no actor.
    """
    shipped = shipped_policies()
    if str(path).startswith(HUB):
        file = download(str(path))
    elif str(path) in shipped and not os.path.exists(path):
        file = shipped[str(path)]
    else:
        file = checkpoint_file(path, others=f"{HUB}user/repo, or a policy's name: {', '.join(shipped)}")
    description, weights, prefix = (*_read_alone(file), "actor") if file.suffix == ALONE else _read_of_checkpoint(file)
    try:
        policy = Policy(description)
    except (TypeError, KeyError) as error:
        raise UserError(f"{file} {NO_POLICY}") from error
    saved = {name: re.sub("^actor", prefix, name) for name in policy.network.state_dict()}
    if not weights.keys() >= set(saved.values()):
        raise UserError(f"{file} holds no actor; allowed: checkpoints of methods that learn a policy")
    try:
        policy.network.load_state_dict({name: weights[other] for name, other in saved.items()})
    except RuntimeError as error:  # weights of another shape
        raise UserError(f"{file} {NO_POLICY}") from error
    try:
        policy.network.to(device).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:  # no such device, in this torch or on this machine
        raise UserError(f"device is {str(device)!r} ({str(error).splitlines()[0]}); allowed: cpu, or cuda") from error
    return policy


def save_policy(policy: Policy, path: str | Path) -> None:
    """Write a policy alone, for `load_policy`: its weights, and in the file's metadata its description.

    Raises:
        UserError: the file's name does not end in `.safetensors`.
    """
    require(Path(path).suffix == ALONE, "path", str(path), f"a name that ends in {ALONE}")
    text = json.dumps({"format": FORMAT, "version": __version__, "policy": policy.description})
    Path(path).write_bytes(save(policy.network.state_dict(), metadata={"mher_pl": text}))


def _read_of_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Return description and weights of a checkpoint's policy, and what its weights' names begin with."""
    checkpoint = read_checkpoint(path)
    agent = checkpoint["agent"]
    description = {key: agent[key] for key in ("task", "inputs", "hidden_sizes", "planner") if key in agent}
    description["env_kwargs"] = checkpoint["GoalDataModule"]["env_kwargs"]
    prefix = agent["acting"]
    if agent["acting_class"] not in map(class_path, (Actor, Generators)):
        raise UserError(
            f"{path} holds no actor of mher_pl, but as {prefix} a {agent['acting_class']}; allowed: checkpoints of "
            "methods whose policy is a mher_pl.networks.Actor"
        )
    return description, checkpoint["state_dict"], prefix


def _read_alone(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return description and weights of what `save_policy` wrote."""
    try:
        with safe_open(path, "pt") as file:
            content = json.loads(file.metadata()["mher_pl"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        written, version, description = content["format"], content["version"], content["policy"]
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path} {NO_POLICY}") from error
    if written != FORMAT:
        raise UserError(f"{path} was written by mher_pl {version}, in another form; allowed: form {FORMAT}")
    return description, weights


def export_policy(policy: Policy, path: str | Path) -> None:
    """Write the policy as a `torch.export` program of observations [B, obs] and goals [B, goal], for any B.

    `torch.export.load(path).module()(observations, goals)` runs it wherever torch is installed.

    Raises:
        UserError: the policy is a planner, which asks the task for rewards.
    """
    if isinstance(policy.network, PlannedPolicy):
        raise UserError(
            "CKPT names a checkpoint of a planner, which needs its task; allowed: methods with an actor, or "
            f"--out that ends in {ALONE}, for mher_pl.load_policy"
        )
    batch = torch.export.Dim("batch")
    device = policy.network.inputs.normalizer.mean.device
    example = tuple(torch.zeros(2, size, device=device) for size in (policy.observation_size, policy.goal_size))
    program = torch.export.export(policy.network, example, dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(program, path)


def main(argv: list[str]) -> int:
    """Run `export`."""
    parser = OneLineParser(
        "python -m mher_pl export",
        description=f"Write a learned policy as a torch.export program, or as its weights alone (*{ALONE}).",
    )
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint, or a run's folder, whose last one it is")
    parser.add_argument(
        "--out",
        type=partial(local_path, setting="--out"),
        default=Path(f"policy{PROGRAM}"),
        help=f"the file to write (policy{PROGRAM}); one that ends in {ALONE} is for load_policy",
    )
    options = parser.parse_args(argv)
    require(
        options.out.suffix in (PROGRAM, ALONE), "--out", str(options.out), f"a name that ends in {PROGRAM} or {ALONE}"
    )
    policy = load_policy(options.checkpoint)
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        (save_policy if options.out.suffix == ALONE else export_policy)(policy, options.out)
    except (OSError, RuntimeError) as error:  # torch reports a file that cannot be opened as RuntimeError
        raise UserError(f"--out is {str(options.out)!r} ({error}); allowed: a file that can be written") from error
    print(f"{options.out}: {policy.env}, observation [B, {policy.observation_size}], goal [B, {policy.goal_size}]")
    return 0
