"""The `sweep` command: a grid of tasks, algorithms and seeds, each cell a plain `fit` in its own process."""

import shlex
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from pathlib import Path

from mher_pl.compare.engines import ENGINES
from mher_pl.compare.fits import reason, require_folder, run_cell, say
from mher_pl.compare.grid import Cell, Sweep, require_good_settings
from mher_pl.compare.job import GRACE_S, Engine, Stopped
from mher_pl.compare.kept import KeptRuns, add_kept, read_kept
from mher_pl.compare.panels import collect_curves, draw_panels
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.errors import Interrupted, OneLineParser, UserError, require_int
from mher_pl.signals import ended_by_signals
from mher_pl.storage.configs import find_config
from mher_pl.storage.folder import local_path, require_writable


def run_cells(cells: list[Cell], finished: int, jobs: int, engine: Engine) -> int:
    """Run cells, `jobs` at once, and print a line per event.

    Args:
        cells: to run.
        finished: cells of the sweep that need no more running.
        jobs: cells to run at once.
        engine: what runs them.

    Returns:
        The exit code: 0, 1 if a cell failed, 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    total, before, began = finished + len(cells), finished, time.monotonic()
    failed: list[tuple[Cell, str]] = []  # and why
    stop = threading.Event()
    events = threading.Lock()  # one line per event, and the count on it is that of the event

    def print_event(event: str, cell: Cell, text: str = "") -> None:
        say(f"[{finished + len(failed)}/{total}] {event:9} {cell.name}{text}")

    def run(cell: Cell) -> None:
        nonlocal finished
        start = time.monotonic()
        try:
            with events:
                print_event("continue" if cell.has_checkpoint() else "start", cell)
            success_rate = run_cell(cell, engine, jobs == 1, stop).curve[-1].success_rate
        except Stopped:
            return
        except Exception as error:  # whatever went wrong is this cell's failure, not the sweep's
            with events:
                failed.append((cell, reason(error)))
                print_event("failed", cell, f"  {reason(error)}")
            return
        with events:
            finished += 1
            ended = finished - before + len(failed)
            left = (time.monotonic() - began) / ended * (len(cells) - ended)
            text = f"  {_duration(time.monotonic() - start)}, final success {success_rate:.2f}"
            print_event("finished", cell, text + (f"; about {_duration(left)} left" if ended < len(cells) else ""))

    with ThreadPoolExecutor(jobs) as threads, ended_by_signals(once=True):
        try:
            wait([threads.submit(run, cell) for cell in cells])
        except Interrupted as interruption:
            say(f"stopping: running cells save and end, within {GRACE_S:.0f} s")
            threads.shutdown(wait=False, cancel_futures=True)
            stop.set()
            threads.shutdown()
            say(f"stopped: {finished} of {total} cells are finished; the same command goes on from here")
            return interruption.exit_code
    for cell, why in failed:
        print(f"failed: {cell.name}  {why}  (log: {cell.log})", file=sys.stderr)
    return 1 if failed else 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )


def draw(sweep: Sweep, name: str, curves: KeptRuns, table: Path | None) -> None:
    """Draw what is finished of a sweep with panels, beside the table of kept runs, to which it is added."""
    if table is not None and curves:
        add_kept(table, curves)
    figure = draw_panels(sweep, curves)
    path = (sweep.out if table is None else table.parent) / f"{name}.png"
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        setting = f"out is {sweep.out}" if table is None else f"--kept is {table}"
        raise UserError(
            f"{setting}, but the figure {path} cannot be written ({error.strerror}); allowed: a folder where it can"
        ) from None
    missing = len(sweep.cells()) - len(curves)
    print(f"drawn: {path}" + (f", without {missing} cells that have not run" if missing else ""))


def make_parser() -> OneLineParser:
    """Return the parser of the command's arguments."""
    parser = OneLineParser(
        prog="python -m mher_pl sweep",
        description="Run tasks x algorithms x seeds, each cell a fit in its own process; draw its panels, if any.",
        epilog="Finished cells are skipped and interrupted ones continued: the same command resumes a sweep.",
    )
    parser.add_argument("sweep", metavar="SWEEP", help="YAML file, or name such as point_tasks")
    parser.add_argument("--jobs", type=int, help="cells to run at once (default: the file's)")
    parser.add_argument(
        "--engine", choices=sorted(ENGINES), default="local", help="local processes, Ray tasks or SLURM jobs"
    )
    parser.add_argument(
        "--kept",
        type=partial(local_path, setting="--kept"),
        metavar="CSV",
        help="table of runs: its cells are not run again, and new ones are added",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the command lines and run nothing")
    parser.add_argument("--draw", action="store_true", help="draw what is finished and run nothing")
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = make_parser().parse_args(argv)

    path = find_config("SWEEP", arguments.sweep, "sweeps")
    sweep = read_sweep(path)
    if sweep.search is not None:
        raise UserError(f"SWEEP is {path}, which has a search; allowed: python -m mher_pl tune, or a file without one")
    if not sweep.panels and (arguments.draw or arguments.kept):
        option = "--draw" if arguments.draw else f"--kept is {arguments.kept}"
        raise UserError(f"{option} where {path} has no panels; allowed: with a sweep that has some, such as figure_05")
    if arguments.jobs is not None:
        require_int("--jobs", arguments.jobs, 1)
        sweep = replace(sweep, jobs=arguments.jobs)
    kept = {} if arguments.kept is None else read_kept(arguments.kept)
    cells = sweep.cells()
    for cell in cells:
        cell.require_same_options()
    unfinished = [cell for cell in cells if not cell.is_finished() and cell.name not in kept]
    if arguments.dry_run:
        threads = ["OMP_NUM_THREADS=1"] if sweep.jobs > 1 else []
        for cell in cells:
            line = shlex.join([*threads, "python", *cell.command()[1:]])
            print(line if cell in unfinished else f"# {cell.name} is finished")
        return 0
    require_folder(sweep.out)
    if arguments.kept is not None:
        require_writable(arguments.kept.parent, "--kept's folder")
    done = len(cells) - len(unfinished)
    count = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}"
    print(f"{count} in {sweep.out}: {done} finished, {len(unfinished)} to run, {sweep.jobs} at once")
    code = 0
    if unfinished and not arguments.draw:
        require_good_settings(unfinished)
        engine = ENGINES[arguments.engine](sweep)
        try:
            code = run_cells(unfinished, done, sweep.jobs, engine)
        finally:
            engine.close()
        if code == 0 and not sweep.panels:
            print(f"compare: python -m mher_pl report {shlex.quote(str(sweep.out))} --out DIR")
    if sweep.panels and code in (0, 1):
        curves = collect_curves(sweep, kept)
        if curves or code == 0:  # also what is finished where others failed
            draw(sweep, path.stem, curves, arguments.kept)
    return code
