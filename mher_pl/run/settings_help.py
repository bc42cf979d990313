"""What `fit --config NAME --help` prints: every setting of the given config with its value and its meaning."""

import inspect
import re
import shutil
from collections.abc import Iterator
from importlib import import_module
from textwrap import shorten
from typing import Any

import docstring_parser
from lightning import Trainer

from mher_pl.callbacks import Evaluation, GoalMap, ModelWarmup, RelabelGoalLogger
from mher_pl.data import GoalDataModule
from mher_pl.storage.settings import as_text

CALLBACKS = {"warmup": ModelWarmup, "evaluation": Evaluation, "relabel_goals": RelabelGoalLogger, "goal_map": GoalMap}
SECTIONS = {"data": GoalDataModule} | CALLBACKS | {"trainer": Trainer}
TOP = {
    "algorithm": "name of the method in run folders and reports",
    "seed_everything": "seed of everything: environment, exploration, replay, networks",
    "threads": "CPU threads; null: one for torch, this process's share of the cores for batched physics",
    "ckpt_path": "where to start from: last, a run's folder, RUN/best, or a checkpoint",
    "model": "",
}
LINKED = "data.seed", "model.seed", "model.task"  # not a user's to set: they are `seed_everything` and `data.env`


def describe(config: dict[str, Any]) -> str:
    """Return the settings of a parsed config, a line each: key, value and meaning."""
    top = {key: config[key] for key in TOP if key in config}
    lines = list(_lines(top, "", TOP))
    for section, of in SECTIONS.items():
        lines += [("", "", ""), *_lines(config[section], f"{section}.", meanings(of))]
    key_width = max(len(key) for key, _, _ in lines) + 2
    value_width = min(max(len(value) for _, value, _ in lines), 28) + 2
    columns = shutil.get_terminal_size((160, 0)).columns
    texts = []
    for key, value, meaning in lines:
        start = f"{key:<{key_width}}{value:<{value_width}}"
        texts.append((start + shorten(meaning, max(columns - len(start), 40), placeholder=" ...")).rstrip())
    return "\n".join(texts)


def meanings(of: type) -> dict[str, str]:
    """Return what the docstrings of a class and those it inherits from say of its arguments, the first sentence."""
    found: dict[str, str] = {}
    for cls in of.__mro__:
        for text in (cls.__doc__, vars(cls).get("__init__", cls).__doc__):
            for argument in docstring_parser.parse(text or "").params:
                sentence = re.split(r"(?<=\.)\s+(?=[A-Z])", argument.description or "")[0]
                found.setdefault(argument.arg_name, " ".join(sentence.split()).removesuffix("."))
    return found


def _lines(settings: dict[str, Any], prefix: str, help_of: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for name, value in settings.items():
        key = prefix + name
        if key in LINKED:
            continue
        if isinstance(value, dict) and "class_path" in value:
            module, _, class_name = value["class_path"].rpartition(".")
            part = getattr(import_module(module), class_name)
            yield key, class_name, (inspect.getdoc(part) or "").partition("\n")[0].removesuffix(".")
            yield from _lines(value.get("init_args") or {}, f"{key}.", meanings(part))
        else:
            yield key, as_text(value), help_of.get(name, "")
