"""Fits of cells, each run by an engine to a finished run."""

import os
import signal
import sys
import threading
from pathlib import Path

from mher_pl.compare.grid import Cell
from mher_pl.compare.job import Busy, Engine, Job, Lost
from mher_pl.compare.runs import IncompleteRun, Run
from mher_pl.errors import UserError, reason_of
from mher_pl.signals import end_signals


class EndedBySignal(IncompleteRun):
    """A signal ended the fit in good order: it can go on from its checkpoint."""


def run_cell(cell: Cell, engine: Engine, alone: bool, stop: threading.Event) -> Run:
    """Run a cell's fit, on from where an earlier one ended, and return its finished run.

    Args:
        cell: to run.
        engine: what runs it.
        alone: whether no other runs beside it: one thread each where several do, more collapse.
        stop: has the fit save and end when it is set.

    Raises:
        IncompleteRun: the fit failed, and how it ended.
        EndedBySignal: somebody else ended it.
        Stopped: `stop` was set.
    """
    cell.require_unedited()
    command = cell.command()
    environment = {"PYTHONUNBUFFERED": "1"} | ({} if alone else {"OMP_NUM_THREADS": "1"})
    job = Job(command, cell.log_entry(command), cell.log.resolve(), Path.cwd(), environment)
    code = engine.run(job, stop)
    if code != 0:
        end = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        kind = EndedBySignal if code in {128 + signum for signum in end_signals()} else IncompleteRun
        raise kind(f"{end}: {cell.last_line()}")
    return cell.finished_run()


def reason(error: BaseException) -> str:
    """Say in a line why a cell has no finished run."""
    if isinstance(error, Busy):
        return "it still runs, started by another sweep"
    if isinstance(error, IncompleteRun | Lost | UserError):
        return " ".join(str(error).split())
    return reason_of(error)


def require_folder(out: Path) -> None:
    """Make a sweep's folder, or raise `UserError`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):  # ValueError: a null character
        raise UserError(f"out is {str(out)!r}; allowed: a folder that can be written") from None


def say(line: str) -> None:
    """Print a line where somebody still reads it, as behind `| head` nobody may; what is printed later is lost too."""
    try:
        print(line, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
