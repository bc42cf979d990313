"""Every goal environment of gymnasium-robotics and panda-gym: what is read off it, and whether it trains and resumes.

    pip install panda-gym
    python benchmarks/goal_environments.py [--only PREFIX]

Each id goes through inspection, one epoch of HER and of MHER with tiny networks, evaluation, and a resume for a second
epoch. Results go to `benchmarks/results/goal_environments.json` and, as a table, between the
marks in `docs/tasks.md`. About half an hour on one core.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from output import replace_between

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "goal_environments.json"
DOCS = ROOT / "docs" / "tasks.md"
BEGIN, END = "<!-- goal environments: begin -->", "<!-- goal environments: end -->"
FAMILIES = "Fetch", "Hand", "AntMaze", "PointMaze", "Panda"
TINY = {
    "data.episodes_per_epoch": 1,
    "data.batches_per_episode": 2,
    "data.batch_size": 16,
    "model.init_args.hidden_sizes": "[16]",
    "model.init_args.critic.init_args.hidden_sizes": "[16]",
    "warmup.episodes": 2,
    "warmup.updates": 2,
    "warmup.batch_size": 16,
    "evaluation.episodes": 2,
    "relabel_goals.every_n_epochs": 0,
    "trainer.enable_progress_bar": False,
    "data.env_kwargs": "{}",
}
PER_PROCESS = 8  # ids, for a process takes seconds to start
LIMIT_S = 600  # of one process


def ids() -> list[str]:
    """Return the registered ids of the goal families."""
    import gymnasium
    import gymnasium_robotics
    import panda_gym  # noqa: F401  (registers its ids)

    gymnasium.register_envs(gymnasium_robotics)
    return sorted(name for name in gymnasium.registry if name.startswith(FAMILIES))


def try_out(name: str) -> dict[str, Any]:
    """Inspect, train, evaluate and resume one environment, and return what there is to tell of it."""
    from mher_pl.errors import UserError
    from mher_pl.inspection import inspect_task
    from mher_pl.run.messages import quiet

    quiet()
    env = f"panda_gym:{name}" if name.startswith("Panda") else name
    try:
        task = inspect_task(env, {}, None)
    except UserError as error:
        return {"id": name, "refused": str(error)}
    phi = task.unclear_phi or ("no part of the observation" if task.goal_indices is None else list(task.goal_indices))
    row = {"id": name, "horizon": task.horizon, "phi": phi, "rewards": list(task.rewards)}
    row |= {"observation": task.observation_size, "goal": task.goal_size, "action": task.action_size}
    for method in ("her", "mher"):
        try:
            found = train(env, method)
            row |= found | {"ends": found["ends"] or row.get("ends", False)}
        except UserError as error:
            row["refused"] = f"{method}: {error}"
    return row


def train(env: str, method: str) -> dict[str, Any]:
    """Train an epoch, evaluate it, and resume for another; return the speed of collecting, and whether episodes end."""
    from mher_pl import load

    settings = TINY | {"data.env": env}
    if method == "mher":
        settings["model.init_args.dynamics.init_args.hidden_sizes"] = "[16]"
    with tempfile.TemporaryDirectory() as root:
        settings["trainer.default_root_dir"] = root
        for epochs, checkpoint in ((1, None), (2, "last")):
            parts = load("point2d", method, **settings | {"trainer.max_epochs": epochs, "ckpt_path": checkpoint})
            parts.trainer.fit(parts.model, parts.datamodule)
            assert "eval/success_rate" in parts.trainer.callback_metrics
            assert len(parts.datamodule.replay) == 2 + epochs
        horizon = parts.datamodule.task.horizon
        ends = bool((parts.datamodule.replay.episodes["length"] < horizon).any())
        parts.datamodule.setup("fit")
        start = time.perf_counter()
        lengths = [int(parts.datamodule.source.next(random=True)["length"]) for _ in range(3)]
        speed = sum(lengths) / (time.perf_counter() - start)
        parts.datamodule.teardown("fit")
    return {"steps_per_s": round(speed), "ends": ends or min(lengths) < horizon}


def in_process(names: list[str]) -> list[dict[str, Any]]:
    """Try environments out in a process of their own; one that kills it, or takes too long, is told."""
    command = [sys.executable, __file__, "--ids", ",".join(names)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    try:
        process = subprocess.run(command, env=environment, capture_output=True, timeout=LIMIT_S, check=False)
        output, last = process.stdout, (process.stderr.decode().strip().splitlines() or [""])[-1]
    except subprocess.TimeoutExpired as error:
        output, last = error.stdout or b"", f"longer than {LIMIT_S} s"
    rows = [json.loads(line) for line in re.findall(r"^RESULT (.*)$", output.decode(), re.MULTILINE)]
    if len(rows) < len(names):
        killer, *rest = names[len(rows) :]
        rows.append({"id": killer, "failed": last})
        rows += in_process(rest) if rest else []
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown: what trains, alike ids in one row, then what is refused by its reason."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    refused: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if "refused" in row:
            reason = re.sub(r"data\.env is '[^']*'", "data.env", row["refused"]).replace(row["id"], "ID")
            refused[re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?", "N", reason)].append(row["id"])
            continue
        sizes = f"{row['observation']}, {row['action']}, {row['goal']}"
        away, at_goal = row["rewards"]
        ends = "yes" if row["ends"] else "no"
        alike[str(row["horizon"]), sizes, entries(row["phi"]), f"{away:g}, {at_goal:g}", ends].append(row)
    lines = [
        "| ids | steps | observation, action, goal | phi(s) | rewards | ended early here? | steps a second |",
        "|---|---|---|---|---|---|---|",
    ]
    for cells, group in alike.items():
        speeds = sorted(row["steps_per_s"] for row in group)
        speed = f"{speeds[0]:,}" if len(group) == 1 else f"{speeds[0]:,} to {speeds[-1]:,}"
        lines.append(f"| {versions([row['id'] for row in group])} | {' | '.join(cells)} | {speed} |")
    lines += ["", "Refused, each in one line, before training or, where it names a training episode, in it:", ""]
    lines += ["| ids | why (numbers as N) |", "|---|---|"]
    for reason, names in sorted(refused.items(), key=lambda item: -len(item[1])):
        shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        lines.append(f"| {shown} | {reason.replace('|', '/')} |")
    return "\n".join(lines)


def entries(phi: str | list[int]) -> str:
    """Return what phi is, or its entries, those that follow each other as a range."""
    if isinstance(phi, str):
        return phi
    runs: list[list[int]] = []
    for entry in phi:
        if runs and entry == runs[-1][-1] + 1:
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return ", ".join(", ".join(map(str, run)) if len(run) < 3 else f"{run[0]} to {run[-1]}" for run in runs)


def versions(names: list[str]) -> str:
    """Return ids such as A-v3, A-v4 and B-v3 as `A-v3, -v4; B-v3`."""
    found = defaultdict(list)
    for name in names:
        base, version = name.rsplit("-", 1)
        found[base].append(version)
    return "; ".join(f"{base}-{', -'.join(all_of_it)}" for base, all_of_it in found.items())


def main() -> None:
    """Try all ids out, one process after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="beginning of the ids to try; the others keep their results")
    parser.add_argument("--ids", help="try these in this process and print the results")
    arguments = parser.parse_args()
    if arguments.ids:
        for name in arguments.ids.split(","):
            print("RESULT " + json.dumps(try_out(name)), flush=True)
        return
    known = ids()
    rows = {row["id"]: row for row in json.loads(RESULTS.read_text())} if RESULTS.is_file() else {}
    rows = {key: row for key, row in rows.items() if key in known}
    names = [name for name in known if name.startswith(arguments.only)]
    for batch in (names[start : start + PER_PROCESS] for start in range(0, len(names), PER_PROCESS)):
        for row in in_process(batch):
            rows[row["id"]] = row
            print(row["id"], row.get("refused") or row.get("failed") or "trains", flush=True)
        RESULTS.write_text(json.dumps([rows[key] for key in sorted(rows)], indent=1) + "\n")
    failed = [row["id"] for row in rows.values() if "failed" in row]
    good = [rows[key] for key in sorted(rows) if "failed" not in rows[key]]
    replace_between(DOCS, BEGIN, END, f"\n{table(good)}\n")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
