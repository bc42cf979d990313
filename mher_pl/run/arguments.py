"""Arguments of `fit`, `validate` and `test`: their parser, and what stands for longer ones."""

from itertools import pairwise
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from mher_pl.errors import UserError
from mher_pl.run.messages import UsageError
from mher_pl.storage.configs import find_config, read_config
from mher_pl.storage.folder import checkpoint_file, config_of
from mher_pl.storage.settings import flatten

CONFIG_FOLDERS = "", "algorithms", "loggers"  # of `configs`, where names are looked for
WHOLE = {"data.env", "data.capacity", "model", "warmup.episodes", "evaluation.episodes"}  # what no overlay has all of


class Parser(LightningArgumentParser):
    """A parser that raises instead of printing its usage over many lines, and that takes no shortened options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

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
    """Return the arguments with the path of each config file in place of its name.

    Raises:
        UserError: there is no such file, or it is the whole config of a task behind another, of which nothing would be
            left.
    """
    resolved, paths = list(args), []
    for index, arg in enumerate(args):
        option, equals, value = arg.partition("=")
        if option == "--config" and equals:
            paths.append(find_config("--config", value, *CONFIG_FOLDERS))
            resolved[index] = f"--config={paths[-1]}"
        elif arg == "--config" and index + 1 < len(args):
            paths.append(find_config("--config", args[index + 1], *CONFIG_FOLDERS))
            resolved[index + 1] = str(paths[-1])
    contents = {path: read_config("--config", path) for path in paths}  # of the first, too, mistakes are told
    for before, path in pairwise(paths):
        if dict(flatten(contents[path])).keys() >= WHOLE:
            raise UserError(
                f"--config is {str(path)!r} behind {str(before)!r}; allowed: first, for the config of a task sets all "
                "that stands before it anew"
            )
    return resolved
