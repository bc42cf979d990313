"""Time of an action of PlanGAN's planner, of one environment alone and of several in one call, on FetchReach.

    python benchmarks/planner.py

Networks are untrained: what they know does not change what they cost. Where there is a GPU, wall-clock time on it into
`benchmarks/results/planner_gpu.json` and `.md`; where there is none, processor time on one thread into `planner.json`
and `.md`. Medians of turns. Two minutes without a GPU.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from output import Report

from mher_pl import load
from mher_pl.plangan import PlanGAN

RESULTS = Path(__file__).resolve().parent / "results"
OVERLAYS = "plangan", "plangan_original"
ENVIRONMENTS = 1, 10
ROUNDS = 3
CPU_TIME = "processor seconds on one thread"


def agent_of(overlay: str, folder: str) -> PlanGAN:
    """Return the untrained agent of an overlay, at full size."""
    agent = load("fetch", overlay, **{"trainer.default_root_dir": folder}).model
    assert isinstance(agent, PlanGAN)
    agent.configure_model()
    return agent


def operations(agent: PlanGAN) -> float:
    """Return the multiplications and additions of matrix products in an action, in 10^9."""
    planner = agent.planner
    generator, model = (
        2.0 * sum(p[0].numel() for name, p in network.named_parameters() if name.endswith("weight") and p.shape[1] > 1)
        for network in (agent.actor, agent.dynamics.networks)
    )
    paths = planner.initial_actions * planner.copies
    steps = paths * (planner.steps - 1)
    imagined = steps * (generator + planner.model_share * model)
    return (imagined + paths * model + planner.initial_actions * generator) / 1e9


def seconds(agent: PlanGAN, environments: int) -> float:
    """Return the time of an action, where one call plans for so many environments."""
    observation = torch.randn(environments, agent.task.observation_size)
    goal = torch.randn(environments, agent.task.goal_size)
    clock = time.perf_counter if agent.device.type == "cuda" else time.process_time
    start = clock()
    agent.act(observation, goal)  # back on the CPU, so it is done
    return (clock() - start) / environments


def main() -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    device, kind = ("cuda", "wall-clock seconds on the GPU") if torch.cuda.is_available() else ("cpu", CPU_TIME)
    report = Report(RESULTS / ("planner_gpu.json" if device == "cuda" else "planner.json"))
    with tempfile.TemporaryDirectory() as folder:
        agents = {overlay: agent_of(overlay, folder).to(device) for overlay in OVERLAYS}
    rows = {}
    for overlay, agent in agents.items():
        seconds(agent, 1)  # first calls are slower
        times = {count: [seconds(agent, count) for _ in range(ROUNDS)] for count in ENVIRONMENTS}
        medians = {count: statistics.median(values) for count, values in times.items()}
        rows[overlay] = {
            "10^9 operations": operations(agent),
            **{f"s, {count} in a call": median for count, median in medians.items()},
        }
    report.values["actions"] = rows
    report.table(f"An action of the planner on FetchReach, {kind}.", "overlay", rows)
    report.write()


if __name__ == "__main__":
    main()
