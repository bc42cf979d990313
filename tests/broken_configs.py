"""Broken configs, made by Hypothesis from the good ones of `configs/`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

CONFIGS = Path(__file__).parents[1] / "configs"
TASKS = "point2d", "four_room", "reacher", "fetch", "sawyer"
METHODS = sorted(path.stem for path in (CONFIGS / "algorithms").glob("*.yaml"))
Place = tuple[str, ...]

words = st.text("abcdefghijklmnopqrstuvwxyz", min_size=5, max_size=12)
others = st.sampled_from([[], [[1]], {"a": 1}, ""])
not_finite = st.sampled_from([float("nan"), float("inf"), float("-inf"), 1e20, 1e300])
BROKEN = {  # values of another type than a setting's, or out of its range
    bool: words | others | st.just(5),
    int: words | others | not_finite | st.integers(max_value=-2) | st.integers(10**12, 10**20) | st.just(2.5),
    float: words | others | not_finite | st.floats(max_value=-1e-3, allow_infinity=False),
    str: others.filter(bool) | st.sampled_from(["x" * 300, "a\nb", "\x00", "-", 5, 2.5, "a b"]),
    list: words | st.sampled_from([{"a": 1}, ["a"], [-1], [1.5], [10**12], [10**20], [[1]], 5, ""]),
    dict: words | st.sampled_from([5, [1], True, {"nosuch": 1}]),
}
MAY_BE_ANY = "default_root_dir", "min_log_variance", "max_log_variance"  # the latter negative, too
NO_CLASSES = ["os.system", "NoSuch", "mher_pl.errors.UserError", "mher_pl.no.Such", "x" * 300, 5, ""]


@dataclass(frozen=True)
class Broken:
    """The command line of a fit that cannot be, and names of which its error has one."""

    files: tuple[str | bytes, ...]  # contents of config files, one after another
    options: tuple[str, ...]
    names: tuple[str, ...]


def places(node: dict[str, Any], above: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield all settings of a config, also those that hold others."""
    for key, value in node.items():
        if key != "init_args":
            yield (*above, key), value
        if isinstance(value, dict):
            yield from places(value, (*above, key))


def dotted(place: Place) -> str:
    """Return a setting's name as the command line spells it."""
    return ".".join(key for key in place if key not in ("init_args", "class_path"))


def nested(place: Place, value: Any) -> dict[str, Any]:
    """Return a config of one setting."""
    for key in reversed(place):
        value = {key: value}
    return value


@st.composite
def broken_configs(draw: st.DrawFn) -> Broken:
    """Take a task's config, or a method's beside it, and break one setting, its name, or the file."""
    task = (CONFIGS / f"{draw(st.sampled_from(TASKS))}.yaml").read_text()
    files, config = [task], yaml.safe_load(task)
    if draw(st.booleans()):
        method = (CONFIGS / "algorithms" / f"{draw(st.sampled_from(METHODS))}.yaml").read_text()
        files, config = [task, method], yaml.safe_load(method)
    place, value = draw(st.sampled_from([found for found in places(config) if can_break(*found)]))
    way = draw(st.sampled_from(["value", "value", "value", "option", "name", "null", "file"]))
    if way == "file":
        content = draw(st.binary(min_size=1, max_size=60) | words | st.just("data: [\n") | st.just("- a\n- b\n"))
        return Broken((*files, b"\xff" + content if isinstance(content, bytes) else content), (), ("--config",))
    if way == "name":
        name = place[-1] if place[-1] != "class_path" else place[-2]
        misspelt = draw(st.sampled_from([f"{name}s", f"x{name}", name[:-1] + "_", name + name]))
        above = place[:-1] if place[-1] != "class_path" else place[:-2]
        return Broken((*files, yaml.safe_dump(nested((*above, misspelt), 1))), (), (dotted((*above, misspelt)),))
    if way == "null" and can_not_be_null(place, value):
        return Broken((*files, yaml.safe_dump(nested(place, None))), (), names(place))
    bad = draw(st.sampled_from(NO_CLASSES) if place[-1] == "class_path" else BROKEN[type(value)])
    is_text = isinstance(bad, str) or (isinstance(bad, int | float) and not isinstance(value, str))  # 5 is a name there
    if way == "option" and is_text and bad != "\x00" and dotted(place) not in ("trainer",):
        return Broken(tuple(files), (f"--{dotted(place)}={bad}",), names(place))
    return Broken((*files, yaml.safe_dump(nested(place, bad))), (), names(place))


def names(place: Place) -> tuple[str, ...]:
    """Return what an error may call a setting: a whole section's may name one that is missing in it."""
    return dotted(place), f"{dotted(place)}."


def can_break(place: Place, value: Any) -> bool:
    """Whether any value of another kind is wrong; the environment's arguments are its own."""
    return value is not None and "env_kwargs" not in place and place[-1] not in MAY_BE_ANY


def can_not_be_null(place: Place, value: Any) -> bool:
    """Whether null is none of a setting's values."""
    return place[0] not in ("trainer", "algorithm") and not isinstance(value, dict) and place[-1] != "class_path"
