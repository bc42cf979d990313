"""Stands in for `fit` in the tests of the sweep: same arguments, folder and files, no training.

`--behave`, or for one seed the file `behave.yaml` of the working folder, says what it does: `learn`, `fail` (a message
and exit code 1), `crash`, `vanish` (exit code 0 without a finished run), `hang` (one epoch and a checkpoint, then
nothing until it is asked to end), `deaf` (that, and it never listens), `wait` (`learn` as soon as the folder has a file
`go`) or `rise` (`learn`, with a success rate that rises by `--rise` an epoch, and by half of it more with each seed).
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import yaml
from fake_runs import START, write_config, write_metrics


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", action="append", type=Path)
    parser.add_argument("--seed_everything", type=int)
    parser.add_argument("--trainer.default_root_dir", dest="root", type=Path)
    parser.add_argument("--trainer.max_epochs", dest="max_epochs", type=int, default=2)
    parser.add_argument("--behave", default="learn")
    parser.add_argument("--rise", type=float)
    parser.add_argument("--kind")
    parser.add_argument("--algorithm")
    parser.add_argument("--ckpt_path")
    arguments = parser.parse_args()
    config = {}
    for path in arguments.config:
        config |= yaml.safe_load(path.read_text())
    env, algorithm, seed = config["env"], arguments.algorithm or config["algorithm"], arguments.seed_everything
    of_seeds = yaml.safe_load(Path("behave.yaml").read_text()) if Path("behave.yaml").is_file() else {}
    behave = of_seeds.get(f"seed_{seed}", arguments.behave)
    print(f"threads {os.environ.get('OMP_NUM_THREADS')}, in {Path.cwd()}")
    if behave == "fail":
        print("a half-drawn progress bar 50%\rerror: it went wrong", file=sys.stderr)
        return 1
    if behave == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    folder = arguments.root / env.split("/")[-1] / algorithm / f"seed_{seed}"
    write_config(folder, env=env, algorithm=algorithm, seed=seed, max_epochs=arguments.max_epochs)
    checkpoint = folder / "checkpoints/last.ckpt"
    checkpoint.parent.mkdir(exist_ok=True)
    done = int(checkpoint.read_text()) if arguments.ckpt_path == "last" and checkpoint.is_file() else 0
    session = {"first_epoch": done + 1, "start": START + 1000 * done}
    if behave == "wait":
        print("waiting")
        until = time.monotonic() + 100
        while not Path("go").exists() and time.monotonic() < until:
            time.sleep(0.05)
    if behave in ("learn", "wait", "rise"):
        epochs = range(done + 1, arguments.max_epochs + 1)
        rates = [arguments.rise * epoch * (1 + 0.5 * seed) if behave == "rise" else 0.5 for epoch in epochs]
        write_metrics(folder, rates, **session)
        checkpoint.write_text(str(arguments.max_epochs))
    if behave in ("hang", "deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN if behave == "deaf" else signal.default_int_handler)
        write_metrics(folder, [0.5], **session)
        checkpoint.write_text(str(done + 1))
        print(f"waiting as {os.getpid()}")
        try:
            time.sleep(100)
        except KeyboardInterrupt:
            print("saved")
            return 128 + signal.SIGTERM
    return 0


if __name__ == "__main__":
    sys.exit(main())
