"""Command line: `python -m mher_pl COMMAND ...`."""

import gc
import os
import signal
import sys
from importlib import import_module

from mher_pl import __version__
from mher_pl.errors import EnvironmentFailed, Interrupted, NonFiniteError, SeedsFailed, UserError, one_line

USAGE = """\
usage: python -m mher_pl COMMAND [options]
       python -m mher_pl --version

  list                                           tasks, methods, policies and parts by their names

train and evaluate
  fit       --config fetch [--config her] [--data.batch_size 128]
  fit       --config fetch --ckpt_path last      continue an interrupted run, or begin one
  fit       --config fetch --help                all settings of a config
  validate  RUN                                  its last checkpoint; RUN/best is the best
  test      RUN [--evaluation.episodes 500]      the same, on other episodes
  watch     RUN [--video out.mp4]                see its episodes, with relabelled goals and values

deploy
  export    RUN --out policy.pt2                 the policy as a torch.export program, without this package
  push-to-hub  RUN user/repo                     the policy, with a card, on the Hugging Face Hub

compare
  report    RUN... --out DIR                     learning curves and tables of finished runs
  sweep     point_tasks                          tasks x algorithms x seeds, resumable
  tune      tune_point2d                         search settings with Optuna, resumable
"""

COMMANDS = {  # and the modules that they are in, beside those of Lightning's command line
    "list": "mher_pl.run.listing",
    "watch": "mher_pl.run.watch",
    "report": "mher_pl.compare.report",
    "sweep": "mher_pl.compare.sweep",
    "tune": "mher_pl.compare.tune",
    "export": "mher_pl.policy",
    "push-to-hub": "mher_pl.run.push",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit code.

    0, 1 after a user's mistake or a failed run, 2 after a usage error, 130, 143, 129 or 138 after Ctrl-C, SIGTERM,
    SIGHUP or a cluster's SIGUSR1, 141 where nobody reads the output any more.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"mher_pl {__version__}")
        return 0
    command, *rest = argv
    try:
        here = os.getcwd()
    except FileNotFoundError:
        print("error: the working folder was removed; allowed: one that is there", file=sys.stderr)
        return 1
    if "" not in sys.path and here not in sys.path:
        sys.path.append(here)  # the console script finds a user's modules where `python -m` does
    try:
        if command in ("fit", "validate", "test"):
            return _train_or_evaluate(argv)
        if command in COMMANDS:
            code = import_module(COMMANDS[command]).main(rest)  # late: `--help` and a usage error need none of torch
            sys.stdout.flush()
            return code
    except (UserError, NonFiniteError, EnvironmentFailed, SeedsFailed) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # nobody reads the output any more, as behind `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what the interpreter flushes at its end
        if command == "fit" and not {"-h", "--help"} & {*rest}:
            print("error: a pipe is closed, of the output or to a logger; --ckpt_path last goes on", file=sys.stderr)
        return 128 + signal.SIGPIPE
    names = ", ".join(["fit", "validate", "test", *COMMANDS])
    print(f"error: command is {command!r}; allowed: {names}", file=sys.stderr)
    return 2


def _train_or_evaluate(argv: list[str]) -> int:
    # The libraries make half a million objects that stay. To search these for garbage again and again, while they are
    # made, during the run and at its end, takes three seconds.
    gc.disable()
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from mher_pl.run.cli import run
    from mher_pl.run.messages import UsageError

    gc.freeze()
    gc.enable()
    try:
        run(argv)
    except UsageError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except MisconfigurationException as error:  # a trainer setting that Lightning refuses; its hints are for programs
        raise UserError(str(error).split("HINT:")[0]) from error
    except RuntimeError as error:
        if not str(error).startswith("Early stopping conditioned on metric"):  # a mistake that has no type of its own
            raise
        raise UserError(" ".join(str(error).split())) from error
    finally:
        gc.freeze()
    return 0


if __name__ == "__main__":
    sys.exit(main())
