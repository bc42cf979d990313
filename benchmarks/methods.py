"""Time of an update of every method, beside MHER's.

An update is what a batch costs: sampling it, the training step, and the batch's share of storing an episode, where MEP
fits its density. All methods take turns, episode by episode, so that a busy machine slows all of them alike.

    python benchmarks/methods.py
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from output import Report

from mher_pl.run.api import load

ROOT = Path(__file__).parent.parent
# But for PlanGAN, whose cost is that of an action: `planner.py`; MapGo with its own thousand updates an episode; and
# what is for tasks with an object alone.
LEFT_OUT = "plangan", "plangan_original", "mapgo_original", "mher_grasp", "mher_relay"
OVERLAYS = sorted(path for path in ROOT.glob("configs/algorithms/*.yaml") if path.stem not in LEFT_OUT)
LIMIT = 3.0  # no method's update may take longer than this many of MHER's


class Method:
    """A method after the warm-up and one epoch of its task, ready for single updates."""

    def __init__(self, task: Path, overlay: Path, folder: str) -> None:
        self.name = overlay.stem
        cli = load(
            task,
            overlay,
            **{
                "warmup.updates": 1,  # how good the model is does not change what it costs
                "trainer.max_epochs": 1,
                "trainer.enable_progress_bar": False,
                "trainer.default_root_dir": folder,
                "evaluation.episodes": 1,
                "relabel_goals.every_n_epochs": 0,
            },
        )
        cli.trainer.fit(cli.model, cli.datamodule)
        self.agent, self.data = cli.model, cli.datamodule
        self.store_seconds: list[float] = []  # of each episode
        self.update_seconds: list[float] = []  # of a batch, a mean of each episode: sampling and training step
        self.cpu_seconds: list[float] = []  # of each episode with its batches, on the processor

    def turn(self) -> None:
        """Store an episode again that is there already, and take the updates that follow an episode."""
        replay, data = self.data.replay, self.data
        episode = replay.episodes[len(self.store_seconds) % len(replay)].clone()
        start, start_cpu = time.perf_counter(), time.process_time()
        replay.add(episode)
        stored = time.perf_counter()
        self.store_seconds.append(stored - start)
        self.agent.training_step(data.replayed(), 0)
        self.update_seconds.append((time.perf_counter() - stored) / data.batches_per_episode)
        self.cpu_seconds.append(time.process_time() - start_cpu)
        self.agent.tracked.clear()

    def result(self) -> dict[str, float]:
        """Return milliseconds of an update: medians, but for storing, whose rare fits only a mean shows."""
        batches = self.data.batches_per_episode
        update = statistics.median(self.update_seconds) + statistics.fmean(self.store_seconds) / batches
        return {
            "update_ms": 1e3 * update,
            "updates_per_second": 1.0 / update,
            "of_which_storing_ms": 1e3 * statistics.fmean(self.store_seconds) / batches,
            "cpu_ms": 1e3 * statistics.fmean(self.cpu_seconds) / batches,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="fetch", help="name of a config")
    parser.add_argument("--episodes", type=int, default=60, help="turns of each method")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "methods.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    report = Report(args.out, task=args.task, episodes=args.episodes, limit_times_mher=LIMIT)

    with tempfile.TemporaryDirectory() as folder:
        methods = [Method(ROOT / "configs" / f"{args.task}.yaml", overlay, folder) for overlay in OVERLAYS]
        for method in methods:
            method.turn()  # first calls are slower
            method.store_seconds, method.update_seconds, method.cpu_seconds = [], [], []
        for _ in range(args.episodes):
            for method in methods:
                method.turn()

    results: dict[str, Any] = {method.name: method.result() for method in methods}
    for result in results.values():
        result["times_mher"] = result["update_ms"] / results["mher"]["update_ms"]
    results = dict(sorted(results.items(), key=lambda item: item[1]["update_ms"]))
    report.values |= {"threads": torch.get_num_threads(), "methods": results}
    rows = {
        name: {
            "updates/s": result["updates_per_second"],
            "ms": result["update_ms"],
            "CPU ms": result["cpu_ms"],
            "times MHER's": result["times_mher"],
            f"at most {LIMIT:g}": "met" if result["times_mher"] <= LIMIT else "MISSED",
        }
        for name, result in results.items()
    }
    report.table(f"An update of every method on `configs/{args.task}.yaml`.", "method", rows)
    report.write()


if __name__ == "__main__":
    main()
