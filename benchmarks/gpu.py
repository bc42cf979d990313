"""What a GPU gives: updates a second by batch size, agreement with the CPU, and a run that learns there.

    python benchmarks/gpu.py

A few minutes. Without a GPU it says so and ends. Writes `benchmarks/results/gpu.json`
and `.md`.
"""

import copy
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning import Callback, Trainer
from output import Report
from tensordict import TensorDict
from torch import Tensor

from mher_pl import load
from mher_pl.errors import reason_of
from mher_pl.mher import MHER
from mher_pl.networks import MLP
from mher_pl.run.api import Loaded

RESULTS = Path(__file__).resolve().parent / "results" / "gpu.json"
METHODS = "mher", "mher_plus"
FORMS = "eager", "compiled", "CUDA graphs"
BATCHES = 64, 256, 1024, 4096
EPOCHS = 6  # of the run that learns
ROUNDS = 50  # updates that are timed; as many come before, in which compiled networks meet every size of batch
COMPARED = 30  # updates on CPU and GPU, after which actions and Q are compared
TOLERANCES = {"action": 0.03, "Q": 0.1}  # actions lie in [-1, 1], Q from -4 to 1 and from -10 to 1
ROUNDING = 6e-8  # relative error of float32


class AtEnd(Callback):
    """Calls a function at the end of training, while networks and optimisers are still on their device."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def on_train_end(self, trainer: Trainer, pl_module: MHER) -> None:
        """Call it and keep its `result`."""
        self.result = self.function(pl_module, trainer.datamodule)


def after_short_fit(method: str, accelerator: str, function: Any, **settings: Any) -> Any:
    """Train one epoch of FetchReach, and return what the function makes of agent and data module at its end."""
    with tempfile.TemporaryDirectory() as folder:
        short = {
            "trainer.accelerator": accelerator,
            "trainer.max_epochs": 1,
            "trainer.default_root_dir": folder,
            "trainer.enable_progress_bar": False,
            "trainer.enable_checkpointing": False,
            "evaluation.episodes": 1,
        }
        run: Loaded = load("fetch", method, **(short | settings))
        end = AtEnd(function)
        run.trainer.callbacks.append(end)
        run.trainer.fit(run.model, run.datamodule)
        return end.result


def updates_per_second(method: str, form: str, accelerator: str) -> dict[str, float | str]:
    """Return the median updates a second by batch size, or why there are none."""

    def measure(agent: MHER, data: Any) -> dict[str, float | str]:
        if form == "CUDA graphs":
            for network in agent.modules():
                if isinstance(network, MLP):
                    network.compile(dynamic=True, mode="reduce-overhead")
        return {f"batches of {size}": rate(agent, data, size) for size in BATCHES}

    try:
        return after_short_fit(method, accelerator, measure, **{"model.init_args.compile": form == "compiled"})
    except RuntimeError as error:  # of the compiler
        return {f"batches of {size}": reason_of(error) for size in BATCHES}


def rate(agent: MHER, data: Any, size: int) -> float | str:
    """Return the median updates a second with batches of one size, or why there is none."""
    seconds = []
    try:
        for _ in range(2 * ROUNDS):
            start = time.perf_counter()
            if agent.device.type == "cuda":
                torch.compiler.cudagraph_mark_step_begin()
            agent.training_step([data.replay.sample(size).to(agent.device)], 0)
            if agent.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    except RuntimeError as error:  # of memory, or of the compiler
        return reason_of(error)
    agent.tracked.clear()
    return 1.0 / median(seconds[ROUNDS:])


def learn(agent: MHER, batches: list[TensorDict]) -> None:
    """Learn from batches that are relabelled already, whatever the device draws."""
    for batch in batches:
        batch = batch.to(agent.device)
        agent.fit_dynamics(batch)
        agent.minimize({"critic": agent.critic_loss(batch), "actor": agent.actor_loss(batch)})
        agent.update_targets()


def largest_differences(method: str, accelerator: str) -> dict[str, float]:
    """Return by how much actions and Q differ at most after the same updates on the CPU and on another device.

    Where the other device is a CPU too, its weights begin a rounding error off. Weights themselves tell little: Adam's
    steps keep their size where gradients are nearly zero, so that their sign turns on rounding.
    """

    def on_cpu(agent: MHER, data: Any) -> dict[str, Any]:
        batches = [agent.relabel(data.replay.sample(data.batch_size), agent, agent.generator) for _ in range(COMPARED)]
        before = {name: value.clone() for name, value in agent.state_dict().items()}
        optimizers = copy.deepcopy({name: optimizer.state_dict() for name, optimizer in agent.named_optimizers.items()})
        learn(agent, batches)
        return {"batches": batches, "before": before, "optimizers": optimizers, "learned": learned(agent, batches)}

    cpu = after_short_fit(method, "cpu", on_cpu)

    def again(agent: MHER, data: Any) -> dict[str, Tensor]:
        agent.load_state_dict(cpu["before"])
        if agent.device.type == "cpu":
            with torch.no_grad():
                for parameter in agent.parameters():
                    parameter *= 1.0 + ROUNDING * torch.randn_like(parameter)
        for name, state in cpu["optimizers"].items():
            agent.named_optimizers[name].load_state_dict(copy.deepcopy(state))
        learn(agent, cpu["batches"])
        return learned(agent, cpu["batches"])

    other = after_short_fit(method, accelerator, again)
    return {name: (other[name] - value).abs().max().item() for name, value in cpu["learned"].items()}


def learned(agent: MHER, batches: list[TensorDict]) -> dict[str, Tensor]:
    """Return the agent's actions and Q on the batches, on the CPU."""
    batch = torch.cat(batches)
    observation, goal = batch["observation"], batch["desired_goal"]
    value = agent.value(observation, goal, batch["action"])
    return {"action": agent.act(observation, goal).clone(), "Q": value.cpu().clone()}


def success_of_fit(accelerator: str, epochs: int) -> tuple[float, float]:
    """Return the last success rate of `mher_plus` on FetchReach, and the seconds that its training took."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"trainer.accelerator": accelerator, "trainer.max_epochs": epochs}
        run = load("fetch", "mher_plus", **(settings | {"trainer.default_root_dir": folder}))
        start = time.perf_counter()
        run.trainer.fit(run.model, run.datamodule)
        return run.trainer.callback_metrics["eval/success_rate"].item(), time.perf_counter() - start


def main() -> None:
    """Measure, print and write."""
    if not torch.cuda.is_available():
        print("no GPU that this torch can use: nothing was measured")
        return
    torch.set_num_threads(1)
    report = Report(RESULTS)
    for method in METHODS:
        rates = {form: updates_per_second(method, form, "gpu") for form in FORMS}
        report.values[f"updates_per_second of {method}"] = rates
        report.table(f"Updates a second of `{method}` on FetchReach, medians of {ROUNDS}.", "form", rates)
    differences = {}
    for method in METHODS:
        for name, accelerator in (("GPU", "gpu"), ("CPU, its weights a rounding error off", "cpu")):
            found = largest_differences(method, accelerator)
            within = all(found[name] <= most for name, most in TOLERANCES.items())
            differences[f"{method}, {name}"] = {**found, "within tolerance": "yes" if within else "no"}
    report.values["largest_difference"] = differences
    allowed = ", ".join(f"{name} {most}" for name, most in TOLERANCES.items())
    report.table(f"Largest difference to the CPU after {COMPARED} equal updates; tolerance {allowed}.", "", differences)
    success, seconds = success_of_fit("gpu", EPOCHS)
    report.values["fit"] = {"success_rate": success, "seconds": seconds}
    report.table(f"`fit` of FetchReach with `mher_plus` on the GPU, {EPOCHS} epochs.", "", {"": report.values["fit"]})
    report.write()


if __name__ == "__main__":
    main()
