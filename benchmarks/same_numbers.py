"""Proof that a change leaves alone what is learned: two commits train side by side, every logged number is compared.

    python benchmarks/same_numbers.py 9f79857 [HEAD] [--only her fetch resume] [--jobs 2]

The first commit is the one to compare against; without a second one that is the working tree as it stands. Equal means
equal bit for bit, which two runs are on one machine with the same packages. The cases, by the names for --only: each
overlay on point2d (`her`), each task without an overlay (`fetch`), `seed_parallel` and `resume`. The exit code is 1 if
a number differs or a run fails.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).parents[1]
TASK = "configs/point2d.yaml"  # the quickest
LEAST = 20  # numbers of a run, below which equality says nothing
SHOWN = 5  # differences of a case
SESSION = ("--trainer.max_epochs=3",)
# Planning at full size takes a minute an episode.
LITTLE_PLANNING = (
    *SESSION,
    "--trainer.check_val_every_n_epoch=1",
    "--data.batches_per_episode=5",
    "--warmup.episodes=5",
    "--warmup.updates=5",
    "--model.planner.copies=3",
    "--model.planner.steps=5",
)

Numbers = dict[tuple[str, str, int], list[float]]  # by run, tag and step; several where it was logged again


class Side(NamedTuple):
    """One of the two that are compared."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Case:
    """What both sides train."""

    name: str
    title: str
    configs: tuple[str, ...]
    sessions: tuple[tuple[str, ...], ...] = (SESSION,)  # settings of each start of the run


class Failed(Exception):
    """Why there is nothing to compare."""


def git(*args: str) -> str:
    """Run git on this repository and return what it prints."""
    done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"git {' '.join(args)}: {last_line(done.stderr)}")
    return done.stdout.strip()


@contextmanager
def checkout(commit: str | None) -> Iterator[Side]:
    """Give a commit's files in a folder of their own, or this repository's own folder if none is named."""
    if commit is None:
        yield Side("the working tree", ROOT)
        return
    name = git("rev-parse", "--verify", "--short", "--end-of-options", f"{commit}^{{commit}}")
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "tree"
        git("worktree", "add", "--detach", str(folder), name)
        try:
            yield Side(name, folder)
        finally:
            git("worktree", "remove", "--force", str(folder))


def find_cases(sides: list[Side]) -> list[Case]:
    """Return the cases for which both sides have the configs."""
    overlays = common_files(sides, "configs/algorithms/*.yaml").items()
    tasks = common_files(sides, "configs/*.yaml").items()
    parallel = ("--trainer.strategy=seed_parallel", "--trainer.devices=2", "--trainer.max_epochs=3")
    begin, go_on = ("--trainer.max_epochs=2",), ("--trainer.max_epochs=3", "--ckpt_path=last")
    return [
        *(overlay_case(name, path) for name, path in overlays),
        *(Case(name, name, (path,)) for name, path in tasks),
        Case("seed_parallel", "seed_parallel on point2d", (TASK,), (parallel,)),
        Case("resume", "resume on point2d", (TASK,), (begin, go_on)),
    ]


def overlay_case(name: str, path: str) -> Case:
    """Return an overlay's case, on the first task that it is made for."""
    task = Path({"mher_relay": "configs/push.yaml", "mher_grasp": "configs/pick_and_place.yaml"}.get(name, TASK))
    settings = LITTLE_PLANNING if name.startswith("plangan") else SESSION
    return Case(name, f"{name} on {task.stem}", (str(task), path), (settings,))


def common_files(sides: list[Side], pattern: str) -> dict[str, str]:
    """Return the files that both sides have by their names, and print those that only one has."""
    old, new = ({path.relative_to(side.folder).as_posix() for path in side.folder.glob(pattern)} for side in sides)
    for path in sorted(old ^ new):
        print(f"left out: {path}, not in {sides[path in old].name}", flush=True)
    return {Path(path).stem: path for path in sorted(old & new)}


def check(sides: list[Side], case: Case) -> tuple[bool, str]:
    """Train a case on both sides, and return whether it is the same and what to print."""
    try:
        old, new = (train(side, case) for side in sides)
    except Failed as error:
        return False, f"FAILED  {case.title} {error}"
    different = [key for key in sorted(old.keys() | new.keys()) if bits(old[key]) != bits(new[key])]
    if not different:
        return True, f"same  {case.title}: {count(old)} numbers"
    lines = [f"DIFFERS  {case.title}: {count(old)} numbers and {count(new)}, not the same at {len(different)} points"]
    for run, tag, step in different[:SHOWN]:
        before, after = show(old[run, tag, step]), show(new[run, tag, step])
        lines.append(f"    {run} {tag} at step {step}: {before} in {sides[0].name}, {after} in {sides[1].name}")
    if len(different) > SHOWN:
        lines.append(f"    and {len(different) - SHOWN} more")
    return False, "\n".join(lines)


def train(side: Side, case: Case) -> Numbers:
    """Train a case on one side and return its numbers."""
    # The folder goes ahead of an installed package, also in the processes that a run starts.
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(side.folder)}
    configs = [f"--config={path}" for path in case.configs]
    with tempfile.TemporaryDirectory() as root:
        settings = ["--evaluation.episodes=10", f"--trainer.default_root_dir={root}"]
        for session in case.sessions:
            command = [sys.executable, "-m", "mher_pl", "fit", *configs, *settings, *session]
            done = subprocess.run(command, cwd=side.folder, env=environ, capture_output=True, text=True)
            if done.returncode:
                output = last_line(done.stderr) or last_line(done.stdout)
                raise Failed(f"in {side.name}: exit code {done.returncode}: {output}")
        numbers = read(Path(root))
    if count(numbers) < LEAST:
        raise Failed(f"in {side.name}: {count(numbers)} numbers logged, {LEAST} are the least to compare")
    return numbers


def read(root: Path) -> Numbers:
    """Read the scalars of all runs below a folder, but for the times, which differ always."""
    numbers: Numbers = defaultdict(list)
    for path in sorted(root.rglob("events*")):  # a run's files by age: their names begin with the second they are of
        # What a resumed run logs again replaces nothing here, so that the number before it is compared too.
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}, purge_orphaned_data=False)
        events.Reload()
        run = path.parent.relative_to(root).as_posix()
        for tag in events.Tags()["scalars"]:
            if not tag.startswith("time/"):
                for event in events.Scalars(tag):
                    numbers[run, tag, event.step].append(event.value)
    return numbers


def bits(values: list[float]) -> list[str]:
    """Write numbers such that only the same bits are equal: NaN equals NaN, and 0 is not -0."""
    return [value.hex() for value in values]


def count(numbers: Numbers) -> int:
    """Count the numbers."""
    return sum(map(len, numbers.values()))


def show(values: list[float]) -> str:
    """Write the values of one point."""
    return " and ".join(map(repr, values)) or "nothing"


def last_line(output: str) -> str:
    """Return the last line that is not empty, or nothing."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="commit to compare against")
    parser.add_argument("new", nargs="?", help="commit that is compared; default: the working tree")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these cases alone")
    parser.add_argument("--jobs", type=int, default=2, help="cases at once")
    options = parser.parse_args()
    with checkout(options.old) as old, checkout(options.new) as new:
        sides = [old, new]
        cases = {case.name: case for case in find_cases(sides)}
        names = options.only or list(cases)
        if unknown := [name for name in names if name not in cases]:
            parser.error(f"--only is {' '.join(unknown)}; allowed: {' '.join(cases)}")
        failed = []
        with ThreadPoolExecutor(options.jobs) as pool:
            results = pool.map(partial(check, sides), [cases[name] for name in names])
            for name, (same, lines) in zip(names, results, strict=True):
                print(lines, flush=True)
                failed += [] if same else [name]
    others = f"; not {', '.join(failed)}" if failed else ""
    print(f"\n{len(names) - len(failed)} of {len(names)} cases are the same in {old.name} and {new.name}{others}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
