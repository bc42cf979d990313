"""What the command line says: parse errors in one line that a user can act on, and no notices of the libraries."""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from mher_pl.errors import UserError
from mher_pl.storage.settings import flatten

UNKNOWN = r"Option '([\w.]+)' is not accepted|does not accept option '([\w.]+)'|unrecognized arguments: --([\w.]+)"
BAD_VALUE = r'Parser key "([\w.]+)"'


class UsageError(UserError):
    """Arguments or config files that the command line cannot parse."""


def explain(message: str, args: Sequence[str]) -> str:
    """Say in one line which setting the parser's `message` is about and what is allowed.

    The parser names only the last part of a key; the full one is found among those that `args` and their config
    files give.
    """
    given = list(dict.fromkeys([*_option_keys(args), *_config_keys(args)]))
    if match := re.search(UNKNOWN, message):
        key = _full_key(next(group for group in match.groups() if group), given)
        known = [name for name in given if name != key]
        close = get_close_matches(key, known, n=1) or get_close_matches(key.split(".")[-1], known, n=1, cutoff=0.3)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{key} is no setting; allowed: the keys of configs/*.yaml{hint}"
    if match := re.search(BAD_VALUE, message):
        key = _full_key(re.findall(BAD_VALUE, message)[-1], given)
        if wrong := re.search(r"Expected a <class '([\w.]+)'>\. Got value: (.*)", message):
            return f"{key} is {wrong[2]!r}; allowed: {wrong[1]}"
        if wrong := re.search(r"Expected a path but (.*?) either", message):
            return f"{key} is {wrong[1]!r}; allowed: the name of a class, as in configs/*.yaml and configs/algorithms"
        return f"{key}: {_flat(message.split(':', 1)[-1])}"
    return _flat(message)


def explain_class(message: str, config: dict[str, Any]) -> str | None:
    """Say in one line which class of `config` could not be built and why, if the parser's `message` is about that."""
    reason = re.search(
        r"(?:Problem with given class_path '[\w.]+'|Errors):\n\s*+(?:- )?+(?!Problem with given)(.*)", message
    )
    name = re.search(r"class_path[= ]'([\w.]+)'", message)
    if reason is None or name is None:
        return None
    key = next((key for key, value in flatten(config) if name[1] in str(value)), "a class")
    return f"{key} is {name[1]}, which cannot be built: {reason[1]}"


def _flat(message: str) -> str:
    return " ".join(message.split())


def _full_key(leaf: str, given: list[str]) -> str:
    return next((key for key in given if key == leaf or key.endswith("." + leaf)), leaf)


def _option_keys(args: Sequence[str]) -> Iterator[str]:
    for arg in args:
        if arg.startswith("--") and len(arg) > 2:
            yield arg[2:].split("=")[0]


def _config_keys(args: Sequence[str]) -> Iterator[str]:
    for i, arg in enumerate(args):
        path = args[i + 1] if arg in ("--config", "-c") and i + 1 < len(args) else arg.removeprefix("--config=")
        if path != arg and Path(path).is_file():
            try:
                yield from (key for key, _ in flatten(yaml.safe_load(Path(path).read_text())))
            except yaml.YAMLError:
                continue


def quiet() -> None:
    """Silence what a user can do nothing about."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
