"""One update of a method, the products it cannot do without, and a peer's."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mher_pl.envs import make
from mher_pl.mher import MHER
from mher_pl.networks import MLP
from mher_pl.run.api import load

CONFIGS = Path(__file__).parent.parent / "configs"


class Learner:
    """A method of the paper on FetchReach after a short run, ready for updates on the CPU."""

    def __init__(self, algorithm: str, settings: dict[str, Any], task: str = "fetch") -> None:
        cli = load(CONFIGS / f"{task}.yaml", CONFIGS / "algorithms" / f"{algorithm}.yaml", **settings)
        cli.trainer.fit(cli.model, cli.datamodule)
        self.agent, self.data, self.trainer, self.count = cli.model, cli.datamodule, cli.trainer, 0

    def update(self) -> None:
        """Sample a batch and learn from it."""
        self.agent.training_step([self.data.replay.sample(self.data.batch_size)], self.count)
        self.count += 1
        if self.count % 25 == 0:
            self.agent.tracked.clear()

    def learn(self) -> None:
        """Learn from the batches of an episode, as training does."""
        self.agent.training_step(self.data.replayed(), 0)
        self.agent.tracked.clear()


class BareUpdate:
    """The matrix products of an update of `mher` or `mher_plus`, fused Adam and Polyak, and nothing else: its floor."""

    def __init__(self, agent: MHER, batch_size: int) -> None:
        actor, critic, dynamics = map(_layer_sizes, (agent.actor, agent.critic, agent.dynamics))
        members, horizon = agent.dynamics.members, getattr(agent.td_target, "horizon", 1)
        self.calls: list[Callable[[], Tensor]] = []
        for _ in range(agent.dynamics.updates_per_batch):
            self._add(dynamics, batch_size, members, weights=True, inputs=True)
        (relabel,) = (part for part in getattr(agent.relabel, "relabellers", [agent.relabel]) if part.uses_model)
        for k in range(relabel.steps):  # the rows that still follow their virtual path, as expected
            rows = round(batch_size * relabel.ratio * (relabel.steps - k) / (relabel.steps + 1))
            self._add(actor, rows)
            self._add(dynamics, rows, members)
        for _ in range(horizon - 1):  # value expansion
            self._add(actor, batch_size)
            self._add(dynamics, batch_size, members)
        self._add(actor, batch_size)  # TD target
        self._add(critic, batch_size)
        self._add(critic, batch_size, weights=True, inputs=True)
        self._add(actor, batch_size, weights=True, inputs=True)
        self._add(critic, batch_size, inputs=True, first_input=True)  # down to the actor's action
        networks = [agent.actor, agent.critic] + [agent.dynamics] * agent.dynamics.updates_per_batch
        self.optimizers = [_adam_of_copies(network) for network in networks]
        self.trained = [p.detach().clone() for network in networks[:2] for p in network.parameters()]
        self.targets = [parameter.clone() for parameter in self.trained]
        self.polyak, self.every, self.count = agent.polyak, agent.batches_per_target_update, 0

    def _add(
        self,
        sizes: list[int],
        rows: int,
        members: int = 1,
        weights: bool = False,
        inputs: bool = False,
        first_input: bool = False,
    ) -> None:
        """Add a network's products: forward, and backward to its weights and to its layers' inputs."""
        multiply = torch.mm if members == 1 else torch.bmm
        lead = () if members == 1 else (members,)
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            x, w = torch.randn(*lead, rows, fan_in), torch.randn(*lead, fan_in, fan_out)
            g = torch.randn(*lead, rows, fan_out)
            self.calls.append(lambda x=x, w=w: multiply(x, w))
            if weights:
                self.calls.append(lambda x=x, g=g: multiply(x.mT, g))
            if inputs and (layer > 0 or first_input):
                self.calls.append(lambda g=g, w=w: multiply(g, w.mT))

    @torch.no_grad()
    def update(self) -> None:
        """Do one update's work."""
        for call in self.calls:
            call()
        for optimizer in self.optimizers:
            optimizer.step()
        self.count += 1
        if self.count % self.every == 0:
            torch._foreach_lerp_(self.targets, self.trained, 1.0 - self.polyak)

    def updates(self, number: int) -> None:
        """Do the work of `number` updates."""
        for _ in range(number):
            self.update()


def _layer_sizes(network: torch.nn.Module) -> list[int]:
    """Return [in, hidden ..., out] of a plain network or of an ensemble's members."""
    (mlp,) = (module for module in network.modules() if isinstance(module, MLP))
    return [mlp.layers[0].weight.numel() // mlp.layers[0].bias.numel(), *(layer.bias.shape[-1] for layer in mlp.layers)]


def _adam_of_copies(network: torch.nn.Module) -> torch.optim.Optimizer:
    copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in network.parameters()]
    for parameter in copies:
        parameter.grad = torch.randn_like(parameter)
    return torch.optim.Adam(copies, lr=1e-3, fused=True)


def peer(updates: int) -> dict[str, Callable[[], None]]:
    """Return updates of Stable-Baselines3's DDPG with HER on FetchReach, by name; nothing if it is not installed."""
    try:
        from stable_baselines3 import DDPG, HerReplayBuffer
    except ImportError:
        return {}
    model = DDPG(
        "MultiInputPolicy",
        make("FetchReach-v4", max_episode_steps=100),
        replay_buffer_class=HerReplayBuffer,
        batch_size=64,
        policy_kwargs={"net_arch": [256, 256, 256]},
        train_freq=500,  # so many steps are collected before `gradient_steps` updates
        gradient_steps=0,
        device="cpu",
    )
    model.learn(500)
    return {"Stable-Baselines3's DDPG + HER": lambda: model.train(gradient_steps=updates, batch_size=64)}
