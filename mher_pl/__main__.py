"""Command line: `python -m mher_pl COMMAND ...`."""

import sys

from mher_pl.errors import NonFiniteError, UserError

USAGE = """\
usage: python -m mher_pl COMMAND [options]

train and evaluate (options and their meaning: COMMAND --help, configs/*.yaml)
  fit       --config configs/fetch.yaml [--config configs/algorithms/her.yaml] [--data.batch_size 128]
  fit       --config configs/fetch.yaml --ckpt_path last      (continue an interrupted run)
  validate  --config configs/fetch.yaml --ckpt_path RUN/checkpoints/last.ckpt
  test      --config configs/fetch.yaml --ckpt_path RUN/checkpoints/last.ckpt [--evaluation.episodes 500]

compare
  report    RUN... --out DIR               learning curves and tables of finished runs
  sweep     configs/sweeps/point_tasks.yaml    tasks x algorithms x seeds, resumable
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 1 after a user's mistake or a failed run, 2 after a usage error."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    command, *rest = argv
    try:
        # Imported late: `--help` and a usage error need none of torch.
        if command in ("fit", "validate", "test"):
            from mher_pl.cli import run

            run(argv)
            return 0
        if command == "report":
            from mher_pl import report

            return report.main(rest)
        if command == "sweep":
            from mher_pl import sweep

            return sweep.main(rest)
    except (UserError, NonFiniteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"error: command is {command!r}; allowed: fit, validate, test, report, sweep", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
