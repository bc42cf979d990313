"""Settings by their dotted keys, as the command line spells them."""

import json
from collections.abc import Iterator
from pathlib import PurePath


def flatten(node: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the settings of nested dicts, keys dotted as the command line spells them: without `init_args`.

    A part that is given by its class counts as a setting with the class as its value.
    """
    if not isinstance(node, dict):
        yield prefix, node
        return
    for key, value in node.items():
        if key == "class_path":
            yield prefix, value
        else:
            yield from flatten(value, prefix if key == "init_args" else f"{prefix}.{key}".lstrip("."))


def as_text(value: object) -> str:
    """Return a setting's value as the command line spells it."""
    return str(value) if isinstance(value, str | PurePath) else json.dumps(value, default=str)
