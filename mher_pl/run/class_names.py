"""The classes that settings name by a dotted path, such as a user's own."""

import inspect
from collections.abc import Iterator
from importlib import import_module
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
            elif isinstance(inner, str) and "." in inner and all(part.isidentifier() for part in inner.split(".")):
                yield key, inner


def _reason(path: str) -> str:
    """Return why there is no class to build at a dotted path, nothing if there is one."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except AttributeError:
        return f"{module} has no {name}"
    except Exception as error:  # whatever a user's module does
        return f"{type(error).__name__}: {error}"
    if inspect.isabstract(found):
        return f"it lacks {', '.join(sorted(found.__abstractmethods__))}"
    return ""
