"""SLURM as an engine of a sweep, through submitit."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from mher_pl.compare.job import Busy, Job, Lost, Stopped, run_job
from mher_pl.errors import UserError

ASK_S = 30.0  # between questions to SLURM about the queue
# A fit starts what it needs beside itself.
ONE_PROCESS = ("nodes", "tasks_per_node", "slurm_nodes", "slurm_ntasks_per_node")


class SlurmFit:
    """A fit within a SLURM job, which goes on from its last checkpoint whenever SLURM starts the job again.

    SLURM starts it again after a preemption, `scontrol requeue` or a node that failed; submitit has it started again
    shortly before the time limit. The job's command continues what was begun, so every start is the same.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> int | Busy:
        """Run the fit; its exit code is the job's result, and a fit that was interrupted has none."""
        from submitit import JobEnvironment

        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())  # of a preemption, `requeue` or `scancel`
        # SLURM sends the signal that announces the time limit to the fit too, which it would kill.
        deaf = ["sh", "-c", f'trap "" {JobEnvironment.USR_SIG}; exec "$@"', "fit", *self.job.command]
        # Lightning is to start the processes of several devices itself, as in any fit, and not to take the job's only
        # task for one of them.
        alone = self.job.environment | {"SLURM_JOB_NAME": "interactive"}
        with ThreadPoolExecutor(1) as thread:  # this one is free for signals
            self._fit = thread.submit(run_job, replace(self.job, command=deaf, environment=alone), self._stop)
            try:
                code = self._fit.result()
            except Busy as error:
                return error
            except Stopped:
                code = 128 + signal.SIGTERM
        if code != 0 and self._stop.is_set():  # SLURM may ask the fit, too, which then ends before it is stopped
            sys.exit(code)
        return code

    def checkpoint(self) -> Any:
        """Have the fit save and end, before submitit asks SLURM to start the job again; return what to run then."""
        from submitit.helpers import DelayedSubmission

        self._stop.set()
        wait([self._fit])
        return DelayedSubmission(SlurmFit(self.job))


class SlurmEngine:
    """SLURM jobs, submitted by submitit, one a fit; what SLURM writes of a job lies in `slurm` beside the fit's log.

    The cluster's machines need the package, the working folder and the output folder at the same paths.

    Args:
        settings: of submitit's `AutoExecutor`, such as `timeout_min`, `cpus_per_task` and `slurm_partition`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        try:
            import submitit
        except ModuleNotFoundError:
            raise UserError(
                "--engine is slurm, which needs submitit; allowed: local, ray, or pip install 'mher_pl[slurm]'"
            ) from None
        self._submitit, self._settings = submitit, settings
        if "timeout_min" not in settings:  # submitit's default is 5 minutes
            raise UserError("slurm has no timeout_min; allowed with --engine slurm: at least the minutes of a job")
        for key in ONE_PROCESS:
            if settings.get(key, 1) != 1:
                raise UserError(f"slurm.{key} is {settings[key]!r}; allowed: 1, for a cell is one process")
        try:
            self._executor("slurm", "check")
        except RuntimeError:
            raise UserError(
                "--engine is slurm, but there is no srun here; allowed: on a machine of a cluster"
            ) from None
        except (NameError, AssertionError, ValueError, TypeError) as error:
            text = str(error).splitlines()[0]
            raise UserError(f"slurm is {settings!r}; allowed: settings of submitit's AutoExecutor ({text})") from None
        self._queue = _Queue()

    def _executor(self, folder: Any, name: str) -> Any:
        settings = {"name": name} | self._settings
        timeouts = {key: settings.pop(key) for key in ("slurm_max_num_timeout",) if key in settings}
        executor = self._submitit.AutoExecutor(folder, cluster="slurm", **timeouts)
        more = {"requeue": True} | settings.pop("slurm_additional_parameters", {})
        executor.update_parameters(**settings, slurm_additional_parameters=more)
        return executor

    def run(self, job: Job, stop: threading.Event) -> int:  # noqa: D102
        folder = job.log.parent
        cores = self._settings.get("cpus_per_task", self._settings.get("slurm_cpus_per_task", 1))
        job = replace(job, environment=job.environment | {"OMP_NUM_THREADS": str(cores)})
        try:
            submitted = self._executor(folder / "slurm", "/".join(folder.parts[-3:])).submit(SlurmFit(job))
        except self._submitit.core.utils.FailedJobError as error:
            raise Lost(f"SLURM refuses it: {error}") from None
        began, result = time.monotonic(), submitted.paths.result_pickle
        while not result.exists():
            if stop.wait(1.0):
                submitted.cancel(check=False)
                raise Stopped
            if time.monotonic() - began > ASK_S and not self._queue.holds(submitted.job_id):
                time.sleep(ASK_S)  # until a network file system shows the result
                if not result.exists():
                    raise Lost(f"SLURM ended job {submitted.job_id} (log: {submitted.paths.stderr})")
        try:
            code = submitted.result()
        except self._submitit.core.utils.FailedJobError as error:
            reason = re.search("not requeued because: (.*)", str(error))
            text = reason[1] if reason else f"log: {submitted.paths.stderr}"
            raise Lost(f"SLURM job {submitted.job_id} ended ({text})") from None
        if isinstance(code, Busy):
            raise code
        return code

    def close(self) -> None:
        """Hold nothing."""


class _Queue:
    """This user's jobs that wait or run, asked for once for all threads; submitit's way needs SLURM's accounting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = -ASK_S
        self._jobs: set[str] = set()

    def holds(self, job_id: str) -> bool:
        """Tell whether SLURM held a job at most `ASK_S` ago."""
        with self._lock:
            if time.monotonic() - self._asked >= ASK_S:
                command = ["squeue", f"--user={os.getuid()}", "--noheader", "--format=%i"]
                answer = subprocess.run(command, capture_output=True, text=True)
                if answer.returncode != 0:  # the controller is busy or restarts
                    return True
                self._asked, self._jobs = time.monotonic(), set(answer.stdout.split())
            return job_id in self._jobs
