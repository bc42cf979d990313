"""Engines of a sweep: what runs a `fit` in a process of its own, here or on a cluster."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from mher_pl.compare.grid import Sweep
from mher_pl.compare.job import Engine, Job, Stopped, run_job
from mher_pl.compare.slurm import SlurmEngine
from mher_pl.errors import UserError


class LocalEngine:
    """Processes of this machine."""

    def run(self, job: Job, stop: threading.Event) -> int:  # noqa: D102
        return run_job(job, stop)

    def close(self) -> None:
        """Hold nothing."""


def _run_alone(job: Job) -> int:
    return run_job(job, threading.Event())


class RayEngine:
    """Ray tasks of one CPU: on the cluster that RAY_ADDRESS names, else on a Ray started here with a worker per job.

    A cluster's machines need the package, the working folder and the output folder at the same paths.
    """

    def __init__(self, jobs: int) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError:
            raise UserError(
                "--engine is ray, which is not installed; allowed: local, or pip install 'mher_pl[ray]'"
            ) from None
        self._ray = ray
        address = os.environ.get("RAY_ADDRESS")
        here = {} if address else {"address": "local", "num_cpus": jobs, "include_dashboard": False}
        root = str(Path(__file__).resolve().parents[2])  # the workers find a clone that is not installed too
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        workers = {"env_vars": {"PYTHONPATH": paths}}
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", runtime_env=workers, **here)
        except (ConnectionError, ValueError) as error:
            if not address:
                raise
            raise UserError(
                f"RAY_ADDRESS is {address!r} ({' '.join(str(error).split())[:100]}); allowed: the address of a Ray "
                "cluster that runs, or none, for a Ray started here"
            ) from None
        self._task = ray.remote(num_cpus=1, max_retries=0)(_run_alone)

    def run(self, job: Job, stop: threading.Event) -> int:  # noqa: D102
        if stop.is_set():
            raise Stopped
        reference = self._task.remote(job)
        while not self._ray.wait([reference], timeout=0.5)[0]:
            if stop.is_set():
                self._ray.cancel(reference)
                break
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            raise Stopped from None
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None

    def close(self) -> None:  # noqa: D102
        self._ray.shutdown()


ENGINES: dict[str, Callable[[Sweep], Engine]] = {
    "local": lambda sweep: LocalEngine(),
    "ray": lambda sweep: RayEngine(sweep.jobs),
    "slurm": lambda sweep: SlurmEngine(sweep.slurm),
}
