"""The policies that the package has, what they do on 500 episodes, and the processor's time of whole runs.

    python benchmarks/policies.py                          # all
    python benchmarks/policies.py --train fetch/mher_plus  # one run, for later

Trains what is not trained yet, one run at a time on one thread, each the task's own config and seed, and MHER+ for as
many steps as below.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

RUNS = Path("runs") / "policies"
TASKS = "point2d", "four_room", "fetch", "sawyer", "reacher"
METHODS = "mher", "mher_plus", "her"
PLUS_STEPS = {"point2d": 1500, "four_room": 6000, "fetch": 2000, "sawyer": 2000, "reacher": 6000}
PLUS_WARMUP = 200  # steps before the first epoch, each of which has 100


def command(task: str, method: str) -> list[str]:
    """Return the arguments of `python -m mher_pl` that train a policy."""
    words = ["fit", "--config", task]
    if method != "mher":
        words += ["--config", method]
    if method == "mher_plus":
        words += ["--trainer.max_epochs", str((PLUS_STEPS[task] - PLUS_WARMUP) // 100)]
    return words


def train(task: str, method: str) -> float:
    """Train a policy that is not there yet; return the seconds of processor time, user and system, that it took."""
    folder = RUNS / task / method
    done = folder / "cpu_seconds"
    if not done.exists():
        print(f"{task}/{method}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        words = [*command(task, method), "--trainer.default_root_dir", str(folder)]
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


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", metavar="TASK/METHOD", help="train this one alone")
    options = parser.parse_args()
    if options.train:
        task, method = options.train.split("/")
        train(task, method)


if __name__ == "__main__":
    main()
