"""The policies that the package has, what they do in 500 new episodes, and the processor time of whole runs.

    python benchmarks/policies.py                        # all of it
    python benchmarks/policies.py fetch fetch/mher_plus  # these, beside the others' results

Trains what is not trained yet, one run at a time on one thread, each with its task's own config and seed, and for as
many epochs as below. The best checkpoint of all but HER's becomes a file in `mher_pl/policies`. Writes
`benchmarks/results/policies.md` and `.json`.
"""

import argparse
import itertools
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from output import Report

from mher_pl.evaluate import wilson_interval
from mher_pl.policy import ALONE, SHIPPED, load_policy, save_policy
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file

ROOT = Path(__file__).resolve().parent.parent
RUNS, RESULTS = Path("runs") / "policies", ROOT / "benchmarks" / "results" / "policies.json"
EPISODES = 500
TASKS = "point2d", "four_room", "fetch", "sawyer", "reacher"
METHODS = "mher", "mher_plus", "her"  # of each of these tasks
MANIPULATION = (("pick_and_place", "mher_grasp"),)
EPOCHS = {  # others train for as many as their task's config says
    ("point2d", "mher_plus"): 13,
    ("four_room", "mher_plus"): 58,
    ("fetch", "mher_plus"): 18,
    ("sawyer", "mher_plus"): 18,
    ("reacher", "mher_plus"): 58,
    ("pick_and_place", "mher_grasp"): 30,
}


def arguments(task: str, method: str) -> list[str]:
    """Return the arguments of `python -m mher_pl` that train a policy."""
    words = ["fit", "--config", task]
    if method != "mher":
        words += ["--config", method]
    if (task, method) in EPOCHS:
        words += ["--trainer.max_epochs", str(EPOCHS[task, method])]
    return words


def train(task: str, method: str) -> float:
    """Train a policy that is not there yet; return the seconds of processor time, user and system, that it took."""
    folder = RUNS / task / method
    done = folder / "cpu_seconds"
    words = [*arguments(task, method), "--trainer.default_root_dir", str(folder)]
    command = folder / "command"  # of which that is
    if not done.exists() or not command.exists() or command.read_text() != shlex.join(words):
        print(f"{task}/{method}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
        folder.mkdir(parents=True)
        command.write_text(shlex.join(words))
        before = cpu_seconds()
        with (folder / "fit.log").open("w") as log:
            run = [sys.executable, "-m", "mher_pl", *words]
            subprocess.run(run, check=True, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        done.write_text(f"{cpu_seconds() - before:.1f}")
    return float(done.read_text())


def cpu_seconds() -> float:
    """Return the processor time of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def take_along(task: str, method: str) -> dict[str, Any]:
    """Write the best checkpoint's policy into the package; return what the file does in episodes that chose nothing."""
    (run,) = (RUNS / task / method).glob("*/*/seed_0")
    best = checkpoint_file(run / "best")
    file = SHIPPED / task / f"{method}{ALONE}"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_policy(load_policy(best), file)
    successes = int(load_policy(file).evaluate(EPISODES).success.sum())
    low, high = wilson_interval(successes, EPISODES)
    return {
        f"success in {EPISODES} episodes": f"{successes / EPISODES:.3f}",
        "95 % interval": f"{low:.3f} to {high:.3f}",
        "best epoch": read_checkpoint(best)["epoch"] + 1,
        "command": f"`{shlex.join(arguments(task, method))}`",
    }


def main() -> None:
    """Train, write the files and report."""
    runs = [*itertools.product(TASKS, METHODS), *MANIPULATION]
    names = {task if method == "mher" else f"{task}/{method}": (task, method) for task, method in runs}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", choices=[*names, []], metavar="NAME", help="TASK or TASK/METHOD; by default all"
    )
    wanted = parser.parse_args().names or list(names)
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"policies": {}, "cpu_seconds": {}}
    policies, seconds = before["policies"], before["cpu_seconds"]
    for name in wanted:
        task, method = names[name]
        seconds.setdefault(task, {})[method] = round(train(task, method))
        if method != "her":
            policies[f"`{name}`"] = take_along(task, method)
    report = Report(RESULTS, episodes=EPISODES, policies=in_order(policies, [f"`{name}`" for name in names]))
    report.table("Policies of the package, seed 0", "`load_policy`", report.values["policies"])
    report.values["cpu_seconds"] = in_order(seconds, dict(runs))
    rows = {task: {method: own.get(method) for method in METHODS} for task, own in in_order(seconds, TASKS).items()}
    report.table("Processor time of a whole run, seconds", "task", rows)
    report.write()


def in_order(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the values in the order of their names."""
    return {name: values[name] for name in names if name in values}


if __name__ == "__main__":
    main()
