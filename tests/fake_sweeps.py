"""Small sweeps for tests, whose cells are a stand-in for `fit`."""

import subprocess
import sys
import time
from pathlib import Path

import yaml

TESTS = Path(__file__).parent
FAKE_FIT = [sys.executable, str(TESTS / "fake_fit.py")]
FAKE_CHECK = [sys.executable, "-c", "import sys; [print() for _ in sys.stdin]"]  # finds all settings good
RUN_SWEEP = f"""
import sys
sys.path.insert(0, {str(TESTS.parent)!r})
from mher_pl.compare import grid, sweep
grid.FIT[:], grid.CHECK[:] = {FAKE_FIT!r}, {FAKE_CHECK!r}
sys.exit(sweep.main(sys.argv[1:]))
"""


def write(path, **content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def grid_file(**content):
    keys = {"tasks": ["one"], "algorithms": ["mher"], "seeds": 1, "out": "out"} | content
    return write("configs/sweeps/grid.yaml", **{key: value for key, value in keys.items() if value is not None})


def behave(**seeds):
    """Say what the stand-in for `fit` does with `seed_0` and so on."""
    write("behave.yaml", **seeds)


def attempts(cell):
    return [line for line in Path(f"out/{cell}/fit.log").read_text().splitlines() if line.startswith("$ ")]


def start_sweep(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", RUN_SWEEP, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def log_says(text, seed=0):
    log = Path(f"out/one/mher/seed_{seed}/fit.log")
    return log.is_file() and text in log.read_text()


def wait_until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
