"""The machine that a benchmark ran on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mher_pl.envs.batch import CORES

PACKAGES = (
    *("torch", "lightning", "torchrl", "tensordict", "gymnasium", "gymnasium-robotics", "mujoco", "numpy"),
    *("scikit-learn", "stable-baselines3"),
)


def machine() -> dict[str, Any]:
    """Name processor, cores, GPU and versions, and how busy the machine is as the benchmark starts."""
    return {
        "processor": processor(),
        "cores": CORES,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": versions(),
        "load_average_at_start": load_average(),
    }


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def versions() -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # the peer, which nobody needs
            continue
    return found


def load_average() -> float:
    """Return how many processes wanted to run, averaged over the last minute, the benchmark's own among them."""
    return round(os.getloadavg()[0], 2)
