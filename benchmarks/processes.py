"""Seconds and memory of whole processes: start-up and `fit`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent


def start_up(rounds: int) -> dict[str, float]:
    """Return the median seconds of new processes that print the help, and that import what `fit` needs."""
    points = {
        "--help": ("-m", "mher_pl", "--help"),
        "import of the dependencies": ("-c", "import lightning.pytorch.cli, torchrl.collectors, gymnasium_robotics"),
        "import of mher_pl.run.cli": ("-c", "import mher_pl.run.cli"),
    }
    return {name: median(python(*args) for _ in range(rounds)) for name, args in points.items()}


def fit(task: str, **overrides: Any) -> dict[str, float]:
    """Run `fit` in a new process.

    Returns seconds from the process's start to the `first_step` of the environment, to the `first_training_step`
    (behind the warm-up) and to the process's `end`; and `peak_mb`, the most resident memory in MiB.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.json"
        options = {"trainer.default_root_dir": folder} | overrides
        settings = [f"--{key}={value}" for key, value in options.items()]
        start = time.time()
        end = python("benchmarks/noted_fit.py", str(path), "fit", "--config", f"configs/{task}.yaml", *settings)
        notes = json.loads(path.read_text())
    peak_mb = notes.pop("peak_mb")
    return {point: then - start for point, then in notes.items()} | {"end": end, "peak_mb": peak_mb}


def python(*args: str) -> float:
    """Run Python in a new process and return its seconds."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    subprocess.run([sys.executable, *args], check=True, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
