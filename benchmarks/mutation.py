"""Mutation testing: change the code in one small place at a time, and see whether its tests notice.

    pip install 'mutmut>=3.8.1,<4'
    python benchmarks/mutation.py targets                  # every mutant of a group
    python benchmarks/mutation.py collection --ending 37   # those whose number ends in 3 or 7, a fifth
    python benchmarks/mutation.py targets --survivors      # again those that no test has noticed

A group's mutants meet its own test files alone. Works on a copy in `build/mutation/`, where `mutmut show NAME` and the
next call find what was done before. Writes `benchmarks/results/mutation.json` with the survivors; the word that tells
why one may survive is written there by hand, and kept.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "mutation.json"
MUTMUT = Path(sys.executable).with_name("mutmut")
COPIED = ("callbacks", "configs", "mher_pl", "tests", "pyproject.toml")
SURVIVED, NOT_REACHED = 0, 33  # mutmut's own codes; None is a mutant that was not tried


class Group(NamedTuple):
    """Files to mutate, below `mher_pl/`, and the tests that are to notice."""

    files: list[str]
    tests: list[str]


GROUPS = {
    "relabelling": Group(["relabel/*"], ["relabel"]),
    "targets": Group(["td_target.py"], ["test_td_target.py"]),
    "replay": Group(["data/replay.py", "sampler/*"], ["data/test_replay.py", "sampler"]),
    "collection": Group(["data/collect.py", "data/module.py", "data/offline.py", "data/source.py"], ["data"]),
    "evaluation": Group(
        ["evaluate.py", "callbacks/evaluation.py"], ["test_evaluate.py", "callbacks/test_evaluation.py"]
    ),
    "checkpoints": Group(
        ["callbacks/checkpoint.py", "storage/checkpoint.py", "storage/writer.py"],
        ["callbacks/test_checkpoint.py", "storage/test_checkpoint_safety.py"],
    ),
}


def copy(group: Group, folder: Path) -> None:
    """Bring a copy of the code and its tests up to date, with mutmut's settings, which it reads there alone."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
            shutil.copytree(ROOT / name, folder / name, symlinks=True)
        else:
            shutil.copy2(ROOT / name, folder / name)
    settings = {
        "source_paths": ["mher_pl", "mher_pl/callbacks"],  # the second is a link, which the first does not follow
        "only_mutate": [f"mher_pl/{file}" for file in group.files],
        "also_copy": ["configs", "mher_pl/configs", "mher_pl/envs/assets"],
        "pytest_add_cli_args_test_selection": [f"tests/{test}" for test in group.tests],
        "process_isolation": "forkserver",  # tests leave threads and processes behind
    }
    with (folder / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))


def outcomes(folder: Path) -> dict[str, int]:
    """Return mutmut's exit code for every mutant that was tried."""
    files = sorted((folder / "mutants").rglob("*.meta"))
    codes = [json.loads(file.read_text())["exit_code_by_key"] for file in files]
    return {name: code for each in codes for name, code in each.items() if code is not None}


def survivors(tried: dict[str, int]) -> list[str]:
    """Return the names of the mutants that no test noticed."""
    return [name for name, code in tried.items() if code in (SURVIVED, NOT_REACHED)]


def change(folder: Path, name: str) -> list[str]:
    """Return the changed lines of a mutant."""
    shown = subprocess.run([MUTMUT, "show", name], cwd=folder, capture_output=True, text=True, check=True).stdout
    return [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def main() -> None:
    """Run mutmut on a group, print the survivors and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--ending", default="0123456789", metavar="DIGITS", help="of the numbers of mutants to try")
    parser.add_argument("--survivors", action="store_true", help="try those again that have survived")
    options = parser.parse_args()
    folder = ROOT / "build" / "mutation" / options.group
    folder.mkdir(parents=True, exist_ok=True)
    copy(GROUPS[options.group], folder)
    names = survivors(outcomes(folder)) if options.survivors else [f"*[{options.ending}]"]
    subprocess.run([MUTMUT, "run", "--max-children", "1", *names], cwd=folder, check=True)

    tried = outcomes(folder)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    before = results.get(options.group, {}).get("survivors", [])
    words = {tuple(survivor["change"]): survivor["word"] for survivor in before}
    left = [{"mutant": name, "change": change(folder, name)} for name in survivors(tried)]
    left = [survivor | {"word": words.get(tuple(survivor["change"]), "")} for survivor in left]
    results[options.group] = {"tried": len(tried), "caught": len(tried) - len(left), "survivors": left}
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    for survivor in left:
        print(survivor["mutant"], *survivor["change"], survivor["word"], sep="\n", end="\n\n")
    print(f"{options.group}: {len(tried) - len(left)} of {len(tried)} caught, {1 - len(left) / len(tried):.1%}")


if __name__ == "__main__":
    main()
