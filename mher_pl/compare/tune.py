"""The `tune` command: a search for the settings of the largest area under the learning curve, in trials of fits."""

import shlex
import statistics
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from mher_pl.compare.engines import ENGINES
from mher_pl.compare.fits import EndedBySignal, reason, require_folder, run_cell, say
from mher_pl.compare.grid import Cell, Sweep, require_good_settings
from mher_pl.compare.job import GRACE_S, Busy, Engine, Stopped
from mher_pl.compare.runs import CurvePoint, Run
from mher_pl.compare.statistics import area_under_curve
from mher_pl.compare.study import Study, name
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.errors import Interrupted, OneLineParser, UserError, require_int
from mher_pl.signals import ended_by_signals
from mher_pl.storage.configs import find_config
from mher_pl.storage.settings import as_text

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

LOOK_S = 1.0  # between looks at the curves of running fits
BUSY_S = 10.0  # between attempts to go on with what still runs
MOST_CUTS = 3  # after which a fit that a signal ends has failed
MOST_FAILURES = 3  # one after another: likely the machine's, such as a full disk, and each uses up a trial


def area(curves: Sequence[list[CurvePoint]]) -> float:
    """Return the median over seeds of the area under the success rate's curve."""
    return statistics.median(
        area_under_curve([point.env_steps for point in curve], [point.success_rate for point in curve])
        for curve in curves
    )


class Tuning:
    """A search as this process takes part in it.

    Args:
        sweep: what its trials are fits of.
        study: which trials there are.
        engine: what runs the fits.
    """

    def __init__(self, sweep: Sweep, study: Study, engine: Engine) -> None:
        self._sweep, self._study, self._engine = sweep, study, engine
        self._fits = ThreadPoolExecutor(sweep.jobs)
        self._events = threading.Lock()  # one line per event, and one count
        self._stop = threading.Event()  # has what runs save and end
        self._failed = self._failures_in_a_row = 0
        self._cut: Counter[int] = Counter()  # how often a signal ended a fit of a trial

    def run(self) -> int:
        """Run trials until there are enough, as many at once as there are jobs for all their seeds.

        Returns:
            The exit code: 0, 1 if a trial failed, 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
        """
        at_once = min(max(1, self._sweep.jobs // len(self._sweep.seeds)), self._study.wanted)
        with self._fits, ThreadPoolExecutor(at_once) as threads, ended_by_signals(once=True):
            try:
                running = [threads.submit(self._run_trials) for _ in range(at_once)]
                wait(running)
            except Interrupted as interruption:
                say(f"stopping: running fits save and end, within {GRACE_S:.0f} s")
                self._stop.set()
                threads.shutdown()
                say("stopped: the same command goes on from here")
                return interruption.exit_code
        for thread in running:
            thread.result()
        return 1 if self._failed else 0

    def _run_trials(self) -> None:
        while not self._stop.is_set() and self._failures_in_a_row < MOST_FAILURES:
            with self._study.next() as held:
                if held is None:
                    return
                self._run_trial(*held)

    def _run_trial(self, trial: "Trial", cells: list[Cell]) -> None:
        self._print("continue" if any(cell.has_checkpoint() for cell in cells) else "start", trial, _shown(trial))
        stop = threading.Event()
        fits = [self._fits.submit(self._fit, cell, stop) for cell in cells]
        pruned = self._watch(trial, cells, fits, stop)
        errors = [error for fit in fits if (error := fit.exception()) is not None]
        cut = any(isinstance(error, EndedBySignal) for error in errors)
        self._cut[trial.number] += cut
        goes_on = Stopped | EndedBySignal if self._cut[trial.number] <= MOST_CUTS else Stopped
        failures = [reason(error) for error in errors if not isinstance(error, goes_on)]
        if failures:
            self._failed += 1
            with self._events:
                self._failures_in_a_row += 1
                many = self._failures_in_a_row == MOST_FAILURES
            self._study.end(trial)
            self._print("failed", trial, failures[0])
            if many:
                say(f"{MOST_FAILURES} trials failed one after another: no more begin; the same command goes on")
        elif not errors:
            self._failures_in_a_row = 0
            value = area([fit.result().curve for fit in fits])
            self._study.end(trial, value)
            best = self._study.complete()[0]
            self._print("finished", trial, f"area {value:.3f}; best {best.value:.3f} of {name(best.number)}")
        elif pruned:
            self._failures_in_a_row = 0
            self._study.end(trial, pruned=True)
            self._print("pruned", trial, "below the median of the trials before")

    def _fit(self, cell: Cell, stop: threading.Event) -> Run:
        while True:
            try:
                return run_cell(cell, self._engine, self._sweep.jobs == 1, stop)
            except Busy:  # a fit that outlived the process that started it; it ends by itself
                if stop.wait(BUSY_S):
                    raise Stopped from None

    def _watch(self, trial: "Trial", cells: list[Cell], fits: list[Future[Run]], stop: threading.Event) -> bool:
        """Wait for a trial's fits, and stop them early where it is to be given up; tell whether it was."""
        known = {
            step for other in self._study.trials() if other.number == trial.number for step in other.intermediate_values
        }
        pruned = False
        while wait(fits, LOOK_S).not_done:
            if not pruned and not stop.is_set():
                pruned = self._report(trial, cells, known)
            if pruned or self._stop.is_set() or any(fit.done() and fit.exception() is not None for fit in fits):
                stop.set()
        if not stop.is_set():
            self._report(trial, cells, known)  # the last epochs, for the trials to come
        return pruned

    def _report(self, trial: "Trial", cells: list[Cell], known: set[int]) -> bool:
        """Tell Optuna the area so far at each epoch that all seeds reached; return whether to give the trial up."""
        prune, curves = False, [cell.curve_so_far() for cell in cells]
        for points in range(1, min(map(len, curves)) + 1):
            epoch = curves[0][points - 1].epoch
            if epoch not in known:
                known.add(epoch)
                trial.report(area([curve[:points] for curve in curves]), epoch)
                prune = prune or trial.should_prune()
        return prune

    def _print(self, event: str, trial: "Trial", text: str) -> None:
        with self._events:
            count = f"[{self._study.count()}/{self._study.wanted}]"
            say(f"{count} {event:9} {name(trial.number)}  {text}")


def _shown(trial: "Trial | FrozenTrial") -> str:
    return " ".join(f"--{key}={as_text(value)}" for key, value in trial.params.items())


def make_parser() -> OneLineParser:
    """Return the parser of the command's arguments."""
    parser = OneLineParser(
        prog="python -m mher_pl tune",
        description="Search settings for the largest area under the curve of success rates, median over seeds.",
        epilog="The same command goes on after an interruption; started several times, on machines that share the "
        "output folder too, it shares the trials.",
    )
    parser.add_argument("sweep", metavar="SWEEP", help="YAML file with a search, or name such as tune_point2d")
    parser.add_argument("--jobs", type=int, help="fits to run at once (default: the file's)")
    parser.add_argument(
        "--engine", choices=sorted(ENGINES), default="local", help="local processes, Ray tasks or SLURM jobs"
    )
    return parser


def main(argv: list[str]) -> int:
    """Run the command."""
    arguments = make_parser().parse_args(argv)

    path = find_config("SWEEP", arguments.sweep, "sweeps")
    sweep = read_sweep(path)
    search = sweep.search
    if search is None:
        raise UserError(f"SWEEP is {path}, which has no search; allowed: a file with the key search")
    if arguments.jobs is not None:
        require_int("--jobs", arguments.jobs, 1)
        sweep = replace(sweep, jobs=arguments.jobs)
    require_good_settings([sweep.cells_at("search", point)[0] for point in search.examples()])
    require_folder(sweep.out)
    study = Study(sweep, search)
    seeds = f"{len(sweep.seeds)} {'seed' if len(sweep.seeds) == 1 else 'seeds'}"
    print(f"{study.wanted} trials of {seeds} in {sweep.out}: {study.count()} ended, {sweep.jobs} fits at once")
    engine = ENGINES[arguments.engine](sweep)
    try:
        code = Tuning(sweep, study, engine).run()
    finally:
        engine.close()
        study.write_table(sweep.out / "trials.csv")
    if complete := study.complete():
        print(f"best: {name(complete[0].number)}, area {complete[0].value:.3f}: {_shown(complete[0])}")
        print(f"all: {sweep.out / 'trials.csv'}; python -m mher_pl report {shlex.quote(str(sweep.out))} --out DIR")
    elif not code and study.count() >= study.wanted:
        say(f"no trial has an area: see {sweep.out / 'trials.csv'}, and fit.log of each")
        return 1
    return code
