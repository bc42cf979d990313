"""One update of a method, the products it cannot do without, and the same on CUDA and in a peer."""

import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from mher_pl.cli import load
from mher_pl.mher import MHER

CONFIGS = Path(__file__).parent.parent / "configs"


class Learner:
    """A method of the paper on FetchReach after one epoch, ready for single updates."""

    def __init__(self, algorithm: str, settings: dict[str, Any], task: str = "fetch") -> None:
        cli = load(CONFIGS / f"{task}.yaml", CONFIGS / "algorithms" / f"{algorithm}.yaml", **settings)
        cli.trainer.fit(cli.model, cli.datamodule)
        self.agent, self.data, self.count = cli.model, cli.datamodule, 0
        if cli.trainer.strategy.root_device.type == "cuda":
            self.agent.to(cli.trainer.strategy.root_device)  # Lightning puts it back to the CPU after training

    def update(self) -> None:
        """Sample a batch and learn from it."""
        batch = self.data.replay.sample(self.data.batch_size).to(self.agent.device)
        self.agent.training_step(batch, self.count)
        self.count += 1
        if self.count % 25 == 0:
            self.agent.tracked.clear()


class BareUpdate:
    """The matrix products of an MHER update, fused Adam and Polyak, and nothing else: its floor."""

    def __init__(self, agent: MHER, batch_size: int) -> None:
        actor, critic, dynamics = map(_layer_sizes, (agent.actor, agent.critic, agent.dynamics))
        relabel, members = agent.relabel, agent.dynamics.members
        self.calls: list[Callable[[], Tensor]] = []
        for _ in range(agent.dynamics.updates_per_batch):
            self._add(dynamics, batch_size, members, weights=True, inputs=True)
        for k in range(relabel.steps):  # the rows that still follow their virtual path, as expected
            rows = round(batch_size * relabel.ratio * (relabel.steps - k) / (relabel.steps + 1))
            self._add(actor, rows)
            self._add(dynamics, rows, members)
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


def _layer_sizes(network: torch.nn.Module) -> list[int]:
    """Return [in, hidden ..., out] of a plain network or of an ensemble's members."""
    if hasattr(network, "layers"):
        linears = [layer for layer in network.layers if isinstance(layer, torch.nn.Linear)]
        return [linears[0].in_features, *(linear.out_features for linear in linears)]
    weights = network.networks.weights
    return [weights[0].shape[1], *(weight.shape[2] for weight in weights)]


def _adam_of_copies(network: torch.nn.Module) -> torch.optim.Optimizer:
    copies = [torch.nn.Parameter(parameter.detach().clone()) for parameter in network.parameters()]
    for parameter in copies:
        parameter.grad = torch.randn_like(parameter)
    return torch.optim.Adam(copies, lr=1e-3, fused=True)


def rate(update: Callable[[], Any], rounds: int = 100) -> float:
    """Return updates per second, the first ones left out."""
    for _ in range(10):
        update()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        update()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 1.0 / median(seconds)


def on_cuda() -> dict[str, float | str] | None:
    """Return MHER's updates per second on CUDA: eager, with compiled networks, and with CUDA graphs of them."""
    if not torch.cuda.is_available():
        return None
    rates: dict[str, float | str] = {}
    for name, mode in (("eager", None), ("compiled", "default"), ("CUDA graphs", "reduce-overhead")):
        with tempfile.TemporaryDirectory() as folder:
            settings = {"trainer.accelerator": "gpu", "trainer.max_epochs": 1, "trainer.default_root_dir": folder}
            learner = Learner("mher", settings | {"trainer.enable_progress_bar": False, "evaluation.episodes": 1})
        agent = learner.agent
        if mode is not None:
            networks = agent.actor, agent.critic, agent.actor_target, agent.critic_target, agent.dynamics.networks
            for network in networks:
                network.compile(mode=mode)

        def update(learner: Learner = learner) -> None:
            torch.compiler.cudagraph_mark_step_begin()
            learner.update()

        try:
            rates[name] = rate(update)
        except RuntimeError as error:
            rates[name] = str(error).splitlines()[0]
    return rates


def peer() -> dict[str, float] | None:
    """Return the updates per second of Stable-Baselines3's DDPG with HER on FetchReach, where it is installed."""
    try:
        from stable_baselines3 import DDPG, HerReplayBuffer
    except ImportError:
        return None
    from mher_pl.envs import make

    model = DDPG(
        "MultiInputPolicy",
        make("FetchReach-v4"),
        replay_buffer_class=HerReplayBuffer,
        batch_size=64,
        policy_kwargs={"net_arch": [256, 256, 256]},
        learning_starts=200,
        train_freq=10_000,
        device="cpu",
    )
    model.learn(300)
    return {"stable_baselines3 DDPG + HER": rate(lambda: model.train(gradient_steps=1, batch_size=64))}
