"""A command line that an engine runs, in a process of its own that ends in good order."""

import fcntl
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

GRACE_S = 60.0  # between asking a fit to save and stop, and killing it


class Stopped(Exception):
    """The fit was ended early because the sweep was."""


class Busy(Exception):
    """The cell's log is held by a fit that still runs, left behind by another sweep."""


class Lost(Exception):
    """The cluster did not run the fit to its end."""


@dataclass(frozen=True)
class Job:
    """One command line and where it runs."""

    command: list[str]
    log_entry: str  # what the log says of it: the command, and a comment
    log: Path  # absolute; output is appended
    folder: Path  # absolute; the working folder
    environment: dict[str, str]  # added to the engine's own


def run_job(job: Job, stop: threading.Event) -> int:
    """Run a job to its end and return its exit code.

    Args:
        job: what to run.
        stop: ends the job when it is set.

    Raises:
        Busy: the same job runs already.
        Stopped: `stop` was set.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a") as log:
        # The process inherits the lock with its output and holds it for as long as it lives, even if its sweep dies.
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        except OSError:  # a file system without locks
            pass
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
        finally:
            _terminate(process)
        if process.returncode == 0:  # it was at its end
            return 0
        raise Stopped


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

    def run(self, job: Job, stop: threading.Event) -> int:
        """Run a job as `run_job` does, wherever it may be."""

    def close(self) -> None:
        """Free what the engine holds."""
