"""Config files, found by path or by name from any folder."""

import os
from difflib import get_close_matches
from os.path import isfile  # `Path.is_file` fails with names that are too long
from pathlib import Path
from typing import Any

import yaml

from mher_pl.errors import UserError, did_you_mean

SHIPPED = (Path(__file__).parent.parent / "configs").resolve()  # with the package; in a clone a link


def find_config(setting: str, name: str | Path, *folders: str, beside: Path | None = None) -> Path:
    """Return the file that `name` names: a path, else `NAME.yaml` in one of `folders` of a `configs` folder.

    The `configs` folders are, in this order, that of the working folder, `beside`, and that of the package.

    Args:
        setting: what the name was given for, named in an error.
        name: a path, or a bare name such as `fetch`.
        folders: below `configs`, "" for itself.
        beside: another `configs` folder, that of the file in which the name stands.

    Raises:
        UserError: there is no such file.
    """
    roots = [Path("configs"), *([] if beside is None else [beside]), SHIPPED]
    paths = [Path(os.path.expanduser(name))]
    if Path(name).name == str(name):
        paths += [root / folder / f"{name}.yaml" for root in roots for folder in folders]
    for path in paths:
        if isfile(path):
            return path
    names = sorted({path.stem for folder in folders for path in named_configs(folder, *roots)})
    near = did_you_mean(get_close_matches(Path(name).stem, names, n=1))
    raise UserError(f"{setting} is {str(name)!r}; allowed: a YAML file, or one of the names {', '.join(names)}{near}")


def named_configs(folder: str, *roots: Path) -> list[Path]:
    """Return the config files in `folder` of `configs` folders, sorted by name; of one name the first.

    Args:
        folder: below `configs`, "" for itself.
        roots: the `configs` folders; those of the working folder and of the package where none is given.
    """
    found: dict[str, Path] = {}
    for root in roots or (Path("configs"), SHIPPED):
        for path in (root / folder).glob("*.yaml"):
            if isfile(path):
                found.setdefault(path.stem, path)
    return [found[name] for name in sorted(found)]


class UniqueKeyLoader(yaml.SafeLoader):
    """Reads YAML in which no mapping has a key twice: the first one's settings would be lost without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it is written.

        Raises:
            UserError: it has a key twice.
        """
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], yaml.Node] = {}  # by type and text of the key
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and first.setdefault((key.tag, key.value), key) is not key:
                lines = [place.start_mark.line + 1 for place in (first[key.tag, key.value], key)]
                raise UserError(f"a key stands twice, in lines {lines[0]} and {lines[1]}; allowed: once")
        return node


def read_config(setting: str, path: str | Path) -> dict[str, Any]:
    """Read a config file.

    Raises:
        UserError: it is no YAML file of settings; its content is not told, for it may be any file.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), UniqueKeyLoader)
    except UserError as error:
        raise UserError(f"{setting} is {str(path)!r}, in which {error}") from None
    except OSError as error:
        raise UserError(f"{setting} is {str(path)!r} ({error.strerror}); allowed: a YAML file of settings") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: other bytes than UTF-8, a date that does not exist
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f" from line {mark.line + 1} on"
        raise UserError(f"{setting} is {str(path)!r}, no YAML{place}; allowed: a YAML file of settings") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{setting} is {str(path)!r}, which has no settings; allowed: lines such as `name: value`")
    return content
