"""Arguments of `fit`, `validate` and `test`: their parser, and what stands for longer ones."""

from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from mher_pl.errors import UserError
from mher_pl.run.messages import UsageError
from mher_pl.storage.configs import find_config
from mher_pl.storage.folder import checkpoint_file, config_of

CONFIG_FOLDERS = "", "algorithms", "loggers"  # of `configs`, where names are looked for


class Parser(LightningArgumentParser):
    """A parser that raises instead of printing its usage over many lines."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise `UsageError`."""
        raise UsageError(str(message)) from ex


def expand_run(args: list[str]) -> list[str]:
    """Return the arguments of `test RUN ...` as they are without RUN: with its own config and its checkpoint."""
    if len(args) < 2 or args[0] not in ("validate", "test") or args[1].startswith("-"):
        return args
    if any(arg.startswith("--ckpt_path") for arg in args[2:]):
        raise UserError(f"ckpt_path is given beside RUN, {args[1]!r}; allowed: one of them, and RUN/best for the best")
    checkpoint = checkpoint_file(args[1])
    return [args[0], f"--config={config_of(checkpoint)}", f"--ckpt_path={checkpoint}", *args[2:]]


def resolve_configs(args: list[str]) -> list[str]:
    """Return the arguments with the path of each config file in place of its name."""
    resolved = list(args)
    for index, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option == "--config" and equals:
            resolved[index] = f"--config={find_config('--config', value, *CONFIG_FOLDERS)}"
        elif arg in ("--config", "-c") and index + 1 < len(args):
            resolved[index + 1] = str(find_config("--config", args[index + 1], *CONFIG_FOLDERS))
    return resolved
