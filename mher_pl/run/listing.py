"""The `list` command: tasks, methods, trained policies and parts by their names, a line each."""

import inspect
import re
import shutil
from importlib import import_module
from pathlib import Path
from textwrap import shorten

from mher_pl.errors import OneLineParser
from mher_pl.storage.configs import named_configs

SECTIONS = {  # title of each folder of `configs`, and how its names are used
    "": "tasks: fit --config NAME",
    "algorithms": "methods: fit --config TASK --config NAME",
    "loggers": "loggers: fit --config TASK --config NAME",
    "sweeps": "sweeps: sweep NAME, or tune NAME where it is a search",
}
PARTS = {  # base classes of the parts by their settings
    "model.relabel": "mher_pl.relabel.Relabel",
    "model.td_target": "mher_pl.td_target.TDTarget",
    "model.batch_source": "mher_pl.batch_source.BatchSource",
    "model.critic": "mher_pl.critic.Critic",
    "model.inputs": "mher_pl.inputs.Inputs",
    "model.dynamics": "mher_pl.parts.DynamicsModel",
    "model.planner": "mher_pl.planner.Planner",
    "data.source": "mher_pl.data.EpisodeSource",
    "data.exploration": "mher_pl.exploration.Exploration",
    "data.practice": "mher_pl.practice.Practice",
    "data.sampler": "mher_pl.sampler.Sampler",
}
WIDTH = 22  # of the names


def main(argv: list[str]) -> int:
    """Run the command."""
    parser = OneLineParser("python -m mher_pl list", description="Say which tasks, methods and parts there are.")
    parser.parse_args(argv)
    for folder, title in SECTIONS.items():
        print(title)
        for path in named_configs(folder):
            print(line("  ", path.stem, first_sentence(path)))
        print(flush=True)  # the rest takes seconds to import
    from mher_pl.policy import shipped_policies

    print("trained policies: mher_pl.load_policy(NAME)")
    for name in shipped_policies():
        print(f"  {name}")
    print()
    print("parts: --SETTING NAME, and its arguments as --SETTING.ARGUMENT VALUE")
    for setting, base in PARTS.items():
        print(f"  {setting}")
        for part in parts_of(base):
            print(line("    ", part.__name__, (inspect.getdoc(part) or "").partition("\n")[0]))
    return 0


def line(indent: str, name: str, text: str) -> str:
    """Return a line of the list, no wider than the terminal."""
    start = f"{indent}{name} ".ljust(WIDTH)
    return start + shorten(text, max(shutil.get_terminal_size((120, 0)).columns - WIDTH, WIDTH), placeholder=" ...")


def first_sentence(config: Path) -> str:
    """Return the first sentence of the comment that a config file begins with."""
    try:
        text = config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # of the user's, which must not hide all others
        return "(cannot be read)"
    comment = re.match(r"(?:#.*\n)*", text)
    text = " ".join(line.lstrip("# ") for line in comment[0].splitlines()) if comment else ""
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def parts_of(base: str) -> list[type]:
    """Return the classes, importable by the base's module, that a setting may name; the base where it is one itself."""
    for name in ("mher", "plangan", "gaussian_dynamics"):  # with what they import these define all parts
        import_module(f"mher_pl.{name}")

    module, name = base.rsplit(".", 1)
    found, queue = [], [getattr(import_module(module), name)]
    while queue:
        part = queue.pop(0)
        queue += part.__subclasses__()
        if not inspect.isabstract(part):
            found.append(part)
    return found
