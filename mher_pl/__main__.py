"""Command line: `python -m mher_pl COMMAND ...`."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from mher_pl.errors import Interrupted, NonFiniteError, SeedsFailed, UserError

USAGE = """\
usage: python -m mher_pl COMMAND [options]

train and evaluate (options and their meaning: COMMAND --help, configs/*.yaml)
  fit       --config configs/fetch.yaml [--config configs/algorithms/her.yaml] [--data.batch_size 128]
  fit       --config configs/fetch.yaml --ckpt_path last      (continue an interrupted run)
  validate  --config configs/fetch.yaml --ckpt_path RUN/checkpoints/last.ckpt
  test      --config configs/fetch.yaml --ckpt_path RUN/checkpoints/last.ckpt [--evaluation.episodes 500]

deploy
  export    RUN|CKPT --out policy.pt2      the policy as a torch.export program, which runs without this package

compare
  report    RUN... --out DIR               learning curves and tables of finished runs
  sweep     configs/sweeps/point_tasks.yaml    tasks x algorithms x seeds, resumable
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit code.

    0, 1 after a user's mistake or a failed run, 2 after a usage error, 130 or 143 after Ctrl-C or SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    command, *rest = argv
    try:
        # Imported late: `--help` and a usage error need none of torch.
        if command in ("fit", "validate", "test"):
            return _train_or_evaluate(argv)
        if command == "report":
            from mher_pl import report

            return report.main(rest)
        if command == "sweep":
            from mher_pl import sweep

            return sweep.main(rest)
        if command == "export":
            from mher_pl import policy

            return policy.main(rest)
    except (UserError, NonFiniteError, SeedsFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(error.message, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"error: command is {command!r}; allowed: fit, validate, test, export, report, sweep", file=sys.stderr)
    return 2


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Let the libraries be imported sooner.

    They make half a million objects that stay: to search them for garbage again and again, while they are made, during
    the run and at its end, takes a second or two.
    """
    gc.disable()
    _import_torchmetrics()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _import_torchmetrics() -> None:
    """Import torchmetrics, which comes with Lightning, without `scipy.signal`.

    It imports that, a second's work, to give it an old name back; here it finds the name in a stand-in.
    """
    import torch  # noqa: F401  (not while the stand-in is there)

    def load(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        del sys.modules["scipy.signal"]
        return getattr(importlib.import_module("scipy.signal"), name)

    stand_in = ModuleType("scipy.signal")
    stand_in.hamming, stand_in.__getattr__ = None, load  # who wants more gets the real one
    sys.modules.setdefault("scipy.signal", stand_in)
    try:
        import torchmetrics  # noqa: F401
    finally:
        if sys.modules.get("scipy.signal") is stand_in:
            del sys.modules["scipy.signal"]


def _train_or_evaluate(argv: list[str]) -> int:
    with _quick_imports():
        from lightning.fabric.utilities.exceptions import MisconfigurationException

        from mher_pl.cli import run
        from mher_pl.usage import UsageError, explain
    try:
        run(argv)
    except UsageError as error:
        print(f"error: {explain(str(error), argv)}", file=sys.stderr)
        return 2
    except MisconfigurationException as error:  # a trainer setting that Lightning refuses
        raise UserError(" ".join(str(error).split())) from error
    return 0


def program() -> int:
    """Run a command as the whole of a process."""
    code = main()
    gc.freeze()  # else Python, ending, searches half a million objects of the libraries for garbage: a second
    return code


if __name__ == "__main__":
    sys.exit(program())
