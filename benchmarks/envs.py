"""Environment steps per second of all tasks but the door in a batch, beside the physics floor and gymnasium's batch.

The floor is the task's own MuJoCo model stepped by `mj_step` alone on all cores, from the same states under the same
mocap targets and controls. All are timed in turns, step by step, so that a busy machine slows all of them alike; the
processor time of a step, which other programs change less, stands beside.

    python benchmarks/envs.py
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium.vector import SyncVectorEnv
from output import Report

import mher_pl
from mher_pl.envs.batch import CORES, MujocoVectorEnv, share

FETCH = {"floor_share": 0.8, "times_sync": 2.0}
TARGETS = {
    "mher_pl/Point2DLarge-v1": {"steps_per_second": 1_000_000},
    "mher_pl/Point2DFourRoom-v1": {"steps_per_second": 300_000},
    "FetchReach-v4": FETCH,
    "FetchPush-v4": FETCH,
    "FetchPickAndPlace-v4": FETCH,
    "FetchSlide-v4": FETCH,
    "mher_pl/SawyerReachXYZ-v1": {"floor_share": 0.8},
    "mher_pl/Reacher-v1": {"times_sync": 2.0},
}
SYNC = {"mher_pl/Reacher-v1": "Reacher-v5"}  # gymnasium's own form of a task, quicker one by one than ours


class Floor:
    """The physics of a batch and nothing else: states of its own, driven by what drove the batch."""

    def __init__(self, env: MujocoVectorEnv):
        self.env = env
        self.datas = [mujoco.MjData(env.model) for _ in env.datas]
        self.start()

    def start(self) -> None:
        """Take over the states of the batch."""
        for mine, theirs in zip(self.datas, self.env.datas, strict=True):
            mujoco.mj_copyData(mine, self.env.model, theirs)

    def follow(self) -> None:
        """Take over the mocap targets and controls that the batch's last step set."""
        for mine, theirs in zip(self.datas, self.env.datas, strict=True):
            mine.mocap_pos[:], mine.mocap_quat[:], mine.ctrl[:] = theirs.mocap_pos, theirs.mocap_quat, theirs.ctrl

    def step(self) -> None:
        """Step the physics of every copy, on all cores."""
        model, substeps = self.env.model, self.env.substeps

        def work(copies: Iterator[int]) -> None:
            for copy in copies:
                mujoco.mj_step(model, self.datas[copy], substeps)

        share(work, len(self.datas), CORES)


def clock(function: Any, *args: Any) -> tuple[float, float]:
    """Return the seconds of wall-clock and of processor time (all threads) that a call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(*args)
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(task: str, num_envs: int, budget: float) -> dict[str, Any]:
    """Time the task for about `budget` seconds; rates are medians over steps."""
    env = mher_pl.make_vec(task, num_envs=num_envs)
    sync = SyncVectorEnv([partial(gymnasium.make, SYNC.get(task, task))] * num_envs)
    single = mher_pl.make(task)
    floor = Floor(env) if isinstance(env, MujocoVectorEnv) else None
    rng = np.random.default_rng(0)
    times: dict[str, list[tuple[float, float]]] = {"batch": [], "sync": [], "single": [], "floor": []}
    end, step = time.perf_counter() + budget, 0
    while step < 10 or time.perf_counter() < end:
        if step % 50 == 0:  # before any of them ends its episode
            env.reset(seed=step)
            sync.reset(seed=step)
            single.reset(seed=step)
            if floor:
                floor.start()
        actions = rng.uniform(-1, 1, size=env.action_space.shape).astype(np.float32)
        times["batch"].append(clock(env.step, actions))
        if floor:
            floor.follow()
            times["floor"].append(clock(floor.step))
        times["sync"].append(clock(sync.step, actions))
        times["single"].append(clock(single.step, actions[0]))
        step += 1
    copies = {"batch": num_envs, "sync": num_envs, "floor": num_envs, "single": 1}
    rates: dict[str, float] = {}
    cpu_us: dict[str, float] = {}
    for name, pairs in times.items():
        if pairs:
            wall, cpu = zip(*pairs[1:], strict=True)  # the first step touches memory for the first time
            rates[name] = copies[name] / statistics.median(wall)
            cpu_us[name] = 1e6 * statistics.median(cpu) / copies[name]
    row = {
        "steps_per_second": rates["batch"],
        "times_sync": rates["batch"] / rates["sync"],
        "floor_share": rates["batch"] / rates["floor"] if floor else None,
        "floor_steps_per_second": rates.get("floor"),
        "sync_steps_per_second": rates["sync"],
        "single_steps_per_second": rates["single"],
        "cpu_us_per_step": cpu_us,
        "timed_steps": len(times["batch"]) - 1,
    }
    env.close()
    sync.close()
    return row | {"targets": TARGETS[task], "met": all(row[key] >= value for key, value in TARGETS[task].items())}


def summary(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the table shows of a row."""
    target = ", ".join(f"{key} {value:,}" for key, value in row["targets"].items())
    return {
        "batch, steps/s": row["steps_per_second"],
        "floor": row["floor_steps_per_second"],
        "of it": row["floor_share"],
        "`SyncVectorEnv`": row["sync_steps_per_second"],
        "times that": row["times_sync"],
        "single": row["single_steps_per_second"],
        "CPU us": ", ".join(f"{name} {value:.3g}" for name, value in row["cpu_us_per_step"].items()),
        "timed steps": row["timed_steps"],
        "target": f"{target}: {'met' if row['met'] else 'MISSED'}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="ID")
    parser.add_argument("--num-envs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0, help="of timing per task")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "envs.json")
    arguments = parser.parse_args()
    report = Report(arguments.out, num_envs=arguments.num_envs)
    rows = report.values["tasks"] = {}
    for task in arguments.tasks:
        rows[task] = measure(task, arguments.num_envs, arguments.seconds)
        print(task, f"{rows[task]['steps_per_second']:,.0f} steps/s", flush=True)
    caption = f"Environment steps per second of {arguments.num_envs} copies on {CORES} cores, medians over timed steps."
    report.table(caption, "task", {task: summary(row) for task, row in rows.items()})
    report.write()


if __name__ == "__main__":
    main()
