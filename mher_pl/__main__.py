"""Command line: `python -m mher_pl COMMAND ...`."""

import gc
import os
import sys

from mher_pl.errors import EnvironmentFailed, Interrupted, NonFiniteError, SeedsFailed, UserError

USAGE = """\
usage: python -m mher_pl COMMAND [options]

train and evaluate (options and their meaning: COMMAND --help, configs/*.yaml)
  fit       --config fetch [--config her] [--data.batch_size 128]
  fit       --config fetch --ckpt_path last      (continue an interrupted run)
  validate  --config fetch --ckpt_path RUN/checkpoints/last.ckpt
  test      --config fetch --ckpt_path RUN/checkpoints/last.ckpt [--evaluation.episodes 500]

deploy
  export    RUN|CKPT --out policy.pt2      the policy as a torch.export program, which runs without this package

compare
  report    RUN... --out DIR               learning curves and tables of finished runs
  sweep     point_tasks                   tasks x algorithms x seeds, resumable
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
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # the console script finds a user's modules where `python -m` does
    try:
        # Imported late: `--help` and a usage error need none of torch.
        if command in ("fit", "validate", "test"):
            return _train_or_evaluate(argv)
        if command == "report":
            from mher_pl.compare import report

            return report.main(rest)
        if command == "sweep":
            from mher_pl.compare import sweep

            return sweep.main(rest)
        if command == "export":
            from mher_pl import policy

            return policy.main(rest)
    except (UserError, NonFiniteError, EnvironmentFailed, SeedsFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"error: command is {command!r}; allowed: fit, validate, test, export, report, sweep", file=sys.stderr)
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
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MisconfigurationException as error:  # a trainer setting that Lightning refuses
        raise UserError(" ".join(str(error).split())) from error
    except RuntimeError as error:
        if not str(error).startswith("Early stopping conditioned on metric"):  # a mistake that has no type of its own
            raise
        raise UserError(" ".join(str(error).split())) from error
    finally:
        gc.freeze()
    return 0


if __name__ == "__main__":
    sys.exit(main())
