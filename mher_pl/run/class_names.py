"""The classes that settings name by a dotted path, such as a user's own."""

import inspect
import re
from collections.abc import Iterator
from os.path import isfile
from pydoc import ErrorDuringImport, locate
from typing import Any

from mher_pl.errors import one_line

KEYS = "model", "data"  # sections, which may name a class themselves


def wrong_class(given: dict[str, Any], parts: dict[str, str]) -> str | None:
    """Say in one line which setting names a class that cannot be imported or built, and why; None if none does.

    Args:
        given: settings by their dotted keys.
        parts: the settings that name a part, with their base classes.
    """
    for key, path in _class_paths(given):
        setting = key.removesuffix(".class_path")
        if (setting in KEYS or setting in parts or key != setting) and (reason := _reason(path)):
            return f"{setting} is {path!r} ({one_line(reason)}); allowed: the name of a class, as in configs/*.yaml"
    return None


def _class_paths(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what could be dotted paths of classes, by their keys, also those within lists and settings."""
    for key, value in settings.items():
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from _class_paths({f"{key}.{name}": entry for name, entry in inner.items()})
            elif isinstance(inner, str) and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", inner) and not isfile(inner):
                yield key, inner


def _reason(path: str) -> str:
    """Return why there is no class to build at a dotted path, nothing if there is one."""
    found: Any
    try:
        found = locate(path)
    except ErrorDuringImport as error:
        return f"{type(error.value).__name__}: {error.value}"
    if found is None:
        return "not found in the folder where the command runs, nor among the installed packages"
    if inspect.isabstract(found):
        return f"it lacks {', '.join(sorted(found.__abstractmethods__))}"
    return ""
