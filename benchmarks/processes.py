"""Seconds of whole processes: start-up and `fit`."""

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
    """Return seconds from the start of a new process to several points."""
    first_step = (
        "import sys, mher_pl.collect as c\n"
        "c.SeededEpisodes.step = lambda *_: sys.exit(0)\n"
        "import mher_pl.cli as cli; cli.run(sys.argv[1:])"
    )
    with tempfile.TemporaryDirectory() as folder:
        fit = ["fit", "--config", "configs/fetch.yaml", "--trainer.default_root_dir", folder]
        points = {
            "help": ("-m", "mher_pl", "--help"),
            "dependencies": ("-c", "import lightning.pytorch.cli, torchrl.collectors, gymnasium_robotics"),
            "first_step": ("-c", first_step, *fit),
        }
        return {name: median(python(*args) for _ in range(rounds)) for name, args in points.items()}


def python(*args: str) -> float:
    """Run Python in a new process and return its seconds."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    subprocess.run([sys.executable, *args], check=True, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def whole_fit(task: str, **overrides: Any) -> float:
    """Return the seconds of `fit` in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"trainer.default_root_dir": folder} | overrides
        settings = [f"--{key}={value}" for key, value in options.items()]
        return python("-m", "mher_pl", "fit", "--config", f"configs/{task}.yaml", *settings)
