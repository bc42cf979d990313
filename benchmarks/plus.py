"""What `mher_plus` learns, what each of its choices brings, and what HER and the paper's settings learn beside it.

    python benchmarks/plus.py fetch --methods mher_plus her_plus --seeds 2000 2001 2002 2003 2004 --steps 3000

Each run is a `fit` of its own, `--jobs` at once; with more `--steps` it goes on. Then `report` writes their curves to
`benchmarks/results/plus/NAME`. `python benchmarks/compared.py` draws those of all tasks beside their rivals'.
"""

import argparse
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mher_pl.compare.report import report

ROOT = Path(__file__).resolve().parent.parent
RUNS, RESULTS = Path("runs") / "plus", ROOT / "benchmarks" / "results" / "plus"
MODEL_BASED = [f"--model.relabel.init_args.{setting}" for setting in ("ratio=0.8", "steps=5", "noise=0.2")]
RANDOM_EPISODES = 2  # at the beginning of a run
METHODS = {  # name: config overlays, and settings
    "mher_plus": (["mher_plus"], []),
    "her_plus": (["her_plus"], []),
    "mher_ratio": (["mher"], ["--data.batches_per_episode=100", f"--warmup.episodes={RANDOM_EPISODES}"]),
    # mher_plus without one of its choices
    "given_goals": (["mher_plus"], ["--data.practice=mher_pl.practice.GivenGoals"]),
    "actor_acts": (["mher_plus"], ["--model.act_with_target=false"]),
    "one_step": (["mher_plus"], ["--model.td_target=mher_pl.td_target.OneStep"]),
    "no_imitation": (["mher_plus"], ["--model.imitation_weight=0.0"]),
    "absolute_goals": (["mher_plus"], ["--model.inputs=mher_pl.inputs.Inputs"]),
    "no_other_goals": (["mher_plus"], ["--model.relabel=mher_pl.relabel.ModelBased", *MODEL_BASED]),
}


def fit(task: str, method: str, seed: int, options: argparse.Namespace) -> bool:
    """Train one of them, from where it is already, and tell whether it is whole."""
    folder = RUNS / options.name / method / f"seed_{seed}"
    overlays, settings = METHODS[method]
    words = [word for config in (task, *overlays) for word in ("--config", config)]
    words += [
        f"--algorithm={method}",
        f"--seed_everything={seed}",
        f"--trainer.default_root_dir={folder}",
        f"--data.episodes_per_epoch={options.every // 100}",
        f"--trainer.max_epochs={(options.steps // 100 - RANDOM_EPISODES) // (options.every // 100)}",
        f"--evaluation.episodes={options.episodes}",
        "--relabel_goals.every_n_epochs=0",
        "--ckpt_path=last",
        *settings,
        *options.set,
    ]
    done = folder / "done"  # holds the command of a run that is whole
    if done.exists() and done.read_text() == shlex.join(words):
        return True
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "fit.log").open("a") as log:
        command = [sys.executable, "-m", "mher_pl", "fit", *words]
        code = subprocess.run(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode
    if code == 0:
        done.write_text(shlex.join(words))
    print(f"{options.name} {method} seed {seed}: {'done' if code == 0 else 'failed, see fit.log'}", flush=True)
    return code == 0


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", help="config of the task, by name")
    parser.add_argument("--name", help="of the folder of the results, by default the task's")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["mher_plus"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[2000, 2001, 2002, 2003, 2004])
    parser.add_argument("--steps", type=int, default=3000, help="most environment steps of a run, warm-up included")
    parser.add_argument("--every", type=int, default=100, help="environment steps between evaluations, in hundreds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--episodes", type=int, default=100, help="episodes of an evaluation")
    parser.add_argument("--set", nargs="*", default=[], help="settings of fit, such as data.env_kwargs.boundary_dist=4")
    options = parser.parse_args()
    for name in ("steps", "every"):
        if getattr(options, name) % 100 or getattr(options, name) < 100:
            parser.error(f"--{name} is {getattr(options, name)}; allowed: hundreds, the steps of episodes")
    options.name = options.name or options.task
    options.set = [f"--{setting}" for setting in options.set]
    jobs = [(options.task, method, seed, options) for seed in options.seeds for method in options.methods]
    with ThreadPoolExecutor(options.jobs) as pool:
        if not all(list(pool.map(lambda job: fit(*job), jobs))):
            sys.exit(1)
    report([RUNS / options.name], RESULTS / options.name)


if __name__ == "__main__":
    main()
