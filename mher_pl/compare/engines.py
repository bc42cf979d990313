"""Engines of a sweep: what runs a `fit` in a process of its own, here or on a Ray cluster."""

import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mher_pl.errors import UserError

GRACE_S = 60.0  # between asking a fit to save and stop, and killing it


class Stopped(Exception):
    """The fit was ended early because the sweep was."""


class Busy(Exception):
    """The cell's log is held by a fit that still runs, left behind by another sweep."""


@dataclass(frozen=True)
class Job:
    """One command line and where it runs."""

    command: list[str]
    log_entry: str  # what the log says of it: the command, and a comment
    log: Path  # absolute; output is appended
    folder: Path  # absolute; the working folder
    environment: dict[str, str]  # added to the engine's own


def run_job(job: Job, stop: threading.Event | None = None) -> int:
    """Run a job to its end and return its exit code.

    Args:
        job: what to run.
        stop: ends the job when it is set.

    Raises:
        Busy: the same job runs already.
        Stopped: `stop` was set.
    """
    stop = stop or threading.Event()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a") as log:
        # The process inherits the lock with its output and holds it for as long as it lives, even if its sweep dies.
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        if stop.is_set():
            raise Stopped
        print(f"$ {job.log_entry}", file=log, flush=True)
        process = subprocess.Popen(
            job.command,
            cwd=job.folder,
            env=os.environ | job.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C reaches the sweep alone, which asks every fit to save
        )
        try:
            while not stop.is_set():
                try:
                    return process.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    continue
            raise Stopped
        finally:
            _terminate(process)


def _terminate(process: subprocess.Popen) -> None:
    """Ask a process that still runs to save and stop; kill it, and all it started, if it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also when a second Ctrl-C ends the wait
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Engine(Protocol):
    """Runs jobs, called from as many threads as jobs run at once."""

    def run(self, job: Job) -> int:
        """Run a job to its end and return its exit code; raises `Busy` or `Stopped` as `run_job` does."""

    def stop(self) -> None:
        """End all running jobs."""

    def close(self) -> None:
        """Free what the engine holds."""


class LocalEngine:
    """Processes of this machine."""

    def __init__(self, jobs: int) -> None:
        self._stop = threading.Event()

    def run(self, job: Job) -> int:  # noqa: D102
        return run_job(job, self._stop)

    def stop(self) -> None:  # noqa: D102
        self._stop.set()

    def close(self) -> None:
        """Hold nothing."""


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
        here = (
            {} if os.environ.get("RAY_ADDRESS") else {"address": "local", "num_cpus": jobs, "include_dashboard": False}
        )
        root = str(Path(__file__).resolve().parents[2])  # the workers find a clone that is not installed too
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": {"PYTHONPATH": paths}}, **here)
        self._task = ray.remote(num_cpus=1, max_retries=0)(run_job)
        self._lock = threading.Lock()
        self._stopped = False
        self._running: set = set()

    def run(self, job: Job) -> int:  # noqa: D102
        with self._lock:
            if self._stopped:
                raise Stopped
            reference = self._task.remote(job)
            self._running.add(reference)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            raise Stopped from None
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        finally:
            self._running.discard(reference)

    def stop(self) -> None:  # noqa: D102
        with self._lock:
            self._stopped = True
            for reference in self._running:
                self._ray.cancel(reference)

    def close(self) -> None:  # noqa: D102
        self._ray.shutdown()


ENGINES: dict[str, Callable[[int], Engine]] = {"local": LocalEngine, "ray": RayEngine}
