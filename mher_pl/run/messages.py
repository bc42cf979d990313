"""What the command line says: parse errors in one line that a user can act on, and no notices of the libraries."""

import logging
import re
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

from lightning import Trainer

from mher_pl.errors import UserError, did_you_mean, shown
from mher_pl.run.class_names import wrong_class
from mher_pl.run.listing import PARTS, parts_of
from mher_pl.storage.configs import read_config
from mher_pl.storage.settings import flatten

UNKNOWN = r"Option '([\w.]+)' is not accepted|does not accept option '([\w.]+)'|unrecognized arguments: --([\w.-]+)"
MISSING = r"arguments are required: ([\w., ]+)"
BAD_VALUE = r'Parser key "([\w.]+)"'
VALUE = r"(?:Got value:|Import path|dot import path string:|Given value:) (.*?)(?: does not .*)?\n"
NO_CLASS = r"Import path|dot import path|valid subclass of|is abstract|is not iterable|unhashable type|Expected a path"
SUBCOMMANDS = "fit.", "validate.", "test."  # with which the parser begins some of its keys


class UsageError(UserError):
    """Arguments or config files that the command line cannot parse."""


def explain(message: str, args: Sequence[str]) -> str:
    """Say in one line which setting the parser's `message` is about and what is allowed.

    The parser names only the last part of a key; the full one is found among those that `args` and their config
    files give.

    Raises:
        UserError: a config file is none.
    """
    given = given_settings(args)
    message, _, rest = message.partition("\n  Given value type")  # what follows repeats all of the config
    keys = re.findall(BAD_VALUE, message)
    if match := re.search(UNKNOWN, message):
        name = next(group for group in match.groups() if group)
        key = name if match[3] else _full_key([*keys, name], given)  # the third form has the key as it was typed
        return f"{shown(key, bare=True)} is no setting; allowed: the keys of configs/*.yaml{_suggestion(key, given)}"
    if match := re.search(MISSING, message):
        names = [_plain_key(name) for name in match[1].split(", ")]
        part = r"(\w+)=Namespace\(class_path='[\w.]+', init_args=Namespace\("
        if within := re.search(rf"{part}[^()]*{names[0]}=None", rest):
            keys.append(within[1])
        return _missing(names, keys, given)
    if reason := wrong_class(given, PARTS):
        return reason
    if not keys:
        return " ".join(message.split())
    reason = re.split(BAD_VALUE, message)[-1]
    got = re.search(VALUE, f"{reason}\n{rest}\n")
    value = got and got[1]
    key = _full_key(keys, given, value)
    parts = [part.__name__ for part in parts_of(PARTS[key])] if key in PARTS else []
    near = did_you_mean(get_close_matches(str(value).rpartition(".")[2], parts, n=1))
    return f"{key} is {shown(_value(key, given, value))}; allowed: {_allowed(reason)}{near}"


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


def given_settings(args: Sequence[str]) -> dict[str, Any]:
    """Return the settings that `args` and their config files give, by their dotted keys; later ones count."""
    given: dict[str, Any] = {}
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        option, equals, value = arg.partition("=")
        value = value if equals else following
        if option in ("--config", "-c") and value:
            given |= flatten(read_config("--config", value))
        elif option.startswith("--") and len(option) > 2:
            given[option[2:].rstrip("+")] = value
    return given


def _suggestion(key: str, given: dict[str, Any]) -> str:
    """Name the settings whose last part is that of `key`, or spelt most like it, if there are any."""
    known = [*(name for name in given if name != key), *(f"trainer.{name}" for name in signature(Trainer).parameters)]
    leaf = key.split(".")[-1]
    by_leaf = {name.split(".")[-1]: name for name in reversed(known)}
    close = (
        sorted({name for name in known if name.split(".")[-1] == leaf})
        or [name for name in given if name.startswith(f"{leaf}_")]
        or get_close_matches(key, known, n=1, cutoff=0.85)
        or [by_leaf[match] for match in get_close_matches(leaf, by_leaf, n=2, cutoff=0.75)]
    )
    return did_you_mean(close)


def _missing(names: list[str], keys: list[str], given: dict[str, Any]) -> str:
    """Say that settings are missing, or null where something must stand."""
    nulls = {key: value for key, value in given.items() if value in (None, "null")}
    full = [_full_key([*keys, name], nulls) for name in names]
    if full[0] in given:
        return f"{full[0]} is null; allowed: a value, as in configs/*.yaml"
    owner = _full_key(keys, given) if keys else _class_with(full[0], given)
    named = f"{owner}.{full[0]}" if owner else full[0]
    others = f" and {len(full) - 1} other settings are" if len(full) > 1 else " is"
    where = "what its class asks for" if owner else "first the config of a task, such as --config fetch, which has all"
    return f"{named}{others} missing; allowed: {where}"


def _class_with(name: str, given: dict[str, Any]) -> str | None:
    """Return the setting that names a class of which `name` is an argument, if one does."""
    for key, base in PARTS.items():
        value = str(given.get(f"{key}.class_path", given.get(key))).rpartition(".")[2]
        if any(part.__name__ == value and name in signature(part).parameters for part in parts_of(base)):
            return key
    return None


def _allowed(reason: str) -> str:
    """Say what the parser expected."""
    if match := re.search(r"subclass of (\w+)", reason):
        return f"the name of a class of the kind {match[1]}, as in configs/*.yaml and configs/algorithms"
    if re.search(NO_CLASS, reason):
        return "the name of a class, as in configs/*.yaml and configs/algorithms"
    if "Unable to load config" in reason:
        return "settings below it, as in configs/*.yaml"
    if match := re.search(r"Expected a (?:typing\.Literal\[(.*?)\]|tuple with (\d+) elements)", reason):
        return match[1].replace("'", "") if match[1] else f"a list of {match[2]} values"
    kinds = re.findall(r"Subtypes: \[(.*)\]", reason)[-1:] or re.findall(r"Expected a (<class '[\w.]+'>)", reason)[:1]
    if not kinds:
        return " ".join(reason.strip(" :\n").split())
    names = re.sub(r"<class '([\w.]+)'>", r"\1", kinds[0]).replace("NoneType", "null")
    return re.sub(r"[\w.]+\.(\w+)", r"\1", names)


def _full_key(keys: Sequence[str], given: dict[str, Any], value: str | None = None) -> str:
    """Return the given setting that has `keys` in this order, the last at its end, and of several that with `value`."""
    leaf = keys[-1]
    parts = dict.fromkeys(".".join(key.split(".")[:depth]) for key in given for depth in range(1, key.count(".") + 2))
    inner = "".join(rf"(?:.*\.)?{re.escape(key)}\." for key in keys[:-1])
    names = [key for key in parts if re.fullmatch(rf"{inner}(?:.*\.)?{re.escape(leaf)}", key)]
    if leaf == "seed" and not names:
        return "seed_everything"
    return next((key for key in names if str(_value(key, given)) == value), names[0] if names else leaf)


def _value(key: str, given: dict[str, Any], default: object = None) -> object:
    """Return the value of a given setting, or the settings below it."""
    below = {name.removeprefix(f"{key}."): value for name, value in given.items() if name.startswith(f"{key}.")}
    return given.get(key, below or default)


def as_written(message: str, config: dict[str, Any]) -> str:
    """Name the setting that a part within another part refuses as `config` has it; a part knows its usual place alone.

    Where a list holds the part, the setting is named as one of the list's.
    """
    name, _, rest = message.partition(" is ")
    section, _, last = name.rpartition(".")
    settings = list(flatten(config))
    for key, value in tuple(settings):
        parts = value if isinstance(value, list) else []
        settings += [setting for part in parts if isinstance(part, dict) for setting in flatten(part, key)]
    if not section or name in dict(settings):
        return message
    pattern = re.compile(rf"{re.escape(section)}\..*\.{re.escape(last)}")
    written = [key for key, value in settings if pattern.fullmatch(key) and rest.startswith(f"{shown(value)};")]
    return f"{written[0]} is {rest}" if written else message


def _plain_key(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in SUBCOMMANDS if name.startswith(prefix)), name)


def quiet() -> None:
    """Silence what a user can do nothing about."""
    import torchrl  # noqa: F401  which sets its own level when it is imported

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
