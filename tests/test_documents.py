"""What README and documentation show must work as it stands there: programs, commands, configs, paths and links."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import cache
from pathlib import Path

import pytest
import yaml

import mher_pl
from mher_pl.__main__ import main
from mher_pl.compare import sweep, tune
from mher_pl.compare.sweep_file import read_sweep
from mher_pl.run.cli import MherCLI, expand_run, resolve_configs
from mher_pl.run.listing import PARTS, parts_of
from mher_pl.storage.configs import find_config
from tests.conftest import ROOT, SMALL

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = "runs/FetchReach-v4/mher/seed_0"  # what the documents call a run

SHORT = SMALL | {"data.episodes_per_epoch": 1}

# The classes that the documents show, each with its module, and the configs and settings that it is trained with
OWN: dict[str, tuple[str, list[str], dict[str, object]]] = {
    "Cart": ("my_task.py", ["fetch"], {"data.env": "my_task:Cart-v0", "data.env_kwargs": {}}),
    "NextState": ("my_goals.py", ["point2d"], {"model.relabel": "my_goals.NextState", "algorithm": "next_state"}),
    "Shooting": ("my_agent.py", ["point2d", "shooting.yaml"], {}),
}


@cache
def blocks(language: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a language in all documents, each with its document and place."""
    found = []
    for document in DOCUMENTS:
        texts = re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), flags=re.DOTALL | re.MULTILINE)
        found += [(f"{document.relative_to(ROOT)}-{number}", text) for number, text in enumerate(texts)]
    return found


def each(found: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Run a test for each of what was found."""
    return pytest.mark.parametrize("text", [text for _, text in found], ids=[name for name, _ in found])


def defined(program: str) -> list[str]:
    """Return the classes that a program defines."""
    return re.findall(r"^class (\w+)", program, flags=re.MULTILINE)


PROGRAMS = [(name, text) for name, text in blocks("python") if not defined(text)]
MODULES = [(name, text) for name, text in blocks("python") if defined(text)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A folder with the run that the documents speak of, small, and the modules and configs that they show."""
    path = tmp_path_factory.mktemp("documents")
    for _, text in MODULES:
        (path / OWN[defined(text)[0]][0]).write_text(text)
    for _, text in blocks("yaml"):
        if name := yaml.safe_load(text).get("algorithm"):
            (path / f"{name}.yaml").write_text(text)
    for name in ("configs", "benchmarks"):
        (path / name).symlink_to(ROOT / name)
    with chdir(path):
        run = mher_pl.load("fetch", **SHORT)
        run.trainer.fit(run.model, run.datamodule)
        assert Path(run.trainer.default_root_dir).resolve() == path / RUN
        assert main(["export", RUN, "--out", "policy.pt2"]) == 0
        yield path


@pytest.fixture
def here(folder, monkeypatch) -> Path:
    """The folder as the working folder, where modules are looked for."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


# Programs


@each(PROGRAMS)
def test_every_program_runs(text: str, here: Path, monkeypatch):
    load = mher_pl.load
    monkeypatch.setattr(mher_pl, "load", lambda *configs, **settings: load(*configs, **settings | SHORT), raising=False)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    names: dict = {}
    exec(compile(text, "a document's program", "exec"), names)
    if "reward" in names:
        assert names["reward"] in (0.0, -1.0)


@each(MODULES)
def test_every_class_of_ones_own_trains_with_every_callback(text: str, here: Path, tmp_path: Path):
    module, configs, settings = OWN[defined(text)[0]]
    assert (here / module).read_text() == text, "where it is shown twice, it is the same"
    run = mher_pl.load(*configs, **SHORT | {"relabel_goals.every_n_epochs": 1} | settings)
    run.trainer.fit(run.model, run.datamodule)
    policy = mher_pl.load_policy(run.trainer.default_root_dir)
    assert policy([0.0] * policy.observation_size, [1.0] * policy.goal_size).shape == (run.model.task.action_size,)


# Configs


@each(blocks("yaml"))
def test_every_config_is_one(text: str, here: Path, tmp_path: Path):
    if overlay := re.match(r"# (configs/algorithms/\w+\.yaml)\n", text):  # some lines of it, in their order
        lines = iter((ROOT / overlay[1]).read_text().splitlines())
        assert all(line in lines for line in text.splitlines()[1:])
        return
    path = tmp_path / "shown.yaml"
    path.write_text(text)
    if "seeds" in yaml.safe_load(text):
        read_sweep(path)
    else:
        mher_pl.load("point2d", path, **SMALL)


# Commands


def commands() -> list[tuple[str, str]]:
    """Return the commands `python -m mher_pl ...` of all documents once, of bash blocks and of code within lines."""
    found = []
    for name, text in blocks("bash"):
        for line in text.replace("\\\n", " ").splitlines():
            words = line.split(" #")[0].split("python -m mher_pl ")
            found += [(name, part) for part in words[1:]]
    for document in DOCUMENTS:
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
        for code in re.findall(r"`python -m mher_pl (\w+ [^`]+)`", text):
            if "COMMAND" not in code:
                found.append((str(document.relative_to(ROOT)), " ".join(code.split())))
    return list({text: (name, text) for name, text in found}.values())


@pytest.fixture(scope="module")
def parse() -> Callable[[list[str]], object]:
    """Return what parses the arguments of `fit`, of which one parser does for all."""
    return MherCLI(["--config", "point2d"], run=False).parser.parse_args


@each(commands())
def test_every_command_is_one(text: str, here: Path, parse, capsys):
    command, *arguments = shlex.split(text.replace("$SLURM_ARRAY_TASK_ID", "0").replace("RUN", RUN))
    if command in ("fit", "validate", "test"):
        _, *arguments = resolve_configs(expand_run([command, *arguments]))
        # What `load` has not; the checkpoint of a run is there already.
        parse([word for word in arguments if word not in ("--help", "last") and not word.startswith("--ckpt_path")])
    elif command in ("sweep", "tune"):
        options = {"sweep": sweep, "tune": tune}[command].make_parser().parse_args(arguments)
        read = read_sweep(find_config("SWEEP", options.sweep, "sweeps"))
        assert (read.search is not None) == (command == "tune")
        assert read.panels or command == "tune" or not (options.kept or options.draw)
    else:  # its arguments are taken, and a run that is not there is not
        arguments = ["nowhere" if word.startswith("runs") else word for word in arguments]
        assert main([command, *arguments]) == ("nowhere" in arguments), capsys.readouterr().err


def test_the_table_of_parts_has_them_all():
    text = (ROOT / "docs" / "api" / "parts.md").read_text()
    for setting, base in PARTS.items():
        (row,) = re.findall(rf"^\| `{setting}` \|(.*)$", text, flags=re.MULTILINE)
        shown = {name.rsplit(".")[-1] for name in re.findall(r"`([\w.]+)`", row)}
        parts = {part.__name__ for part in parts_of(base) if part.__module__.startswith("mher_pl.")}
        assert parts | {base.rsplit(".")[-1]} == shown, setting


# Words


def test_every_overlay_is_named_on_a_page_of_the_methods():
    (section,) = re.findall(r"^- Methods:\n((?:  - .*\n)+)", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    pages = [ROOT / page for page in re.findall(r"docs/\S+", section)]
    assert set((ROOT / "docs" / "methods").glob("*.md")) <= set(pages)
    named = {name for page in pages for name in re.findall(r"`(\w+)`", page.read_text())}
    assert {path.stem for path in (ROOT / "configs" / "algorithms").glob("*.yaml")} <= named


def test_the_methods_pages_have_the_same_parts_in_the_same_order():
    parts = ["Equation", "Config", "Differences from its paper", "Curve"]
    for page in (ROOT / "docs" / "methods").glob("*.md"):
        assert re.findall(r"^## (.*)$", page.read_text(), flags=re.MULTILINE) == parts, page.name


def test_the_readme_is_one_screen():
    assert len(README.read_text().splitlines()) <= 80


def test_the_setup_is_two_commands_and_continuous_integration_runs_the_second():
    text = README.read_text()
    assert "python -m mher_pl fit --config configs/fetch.yaml" in text
    assert "\nRun the tests:\n\n```" in text
    assert "pytest" in text.split("\nRun the tests:\n")[1].split("```")[1]
    assert "Run the tests:" in (ROOT / ".ci" / "run").read_text()
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_row_of_a_table_is_below_its_header(document: Path):
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    for table in re.findall(r"(?<=\n\n)(?:\|.*\n)+", text):
        rows = table.splitlines()
        assert re.fullmatch(r"[|:-]+", rows[1]), rows[0]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


FILE = r"(?<![\w/])((?:configs|benchmarks|callbacks|mher_pl|tests|docs|website)/[\w./-]+)"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_exists(document: Path):
    named = set(re.findall(FILE, document.read_text()))
    made_up = {name for name in named if "NAME" in name or re.match(r"mher_pl/\w+-v\d", name)}
    for name in named - made_up:
        assert (ROOT / name.rstrip(".")).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document: Path):
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, heading = link.partition("#")
        if not path.startswith("https:"):
            target = document.parent / path if path else document
            assert target.exists(), link
            assert not heading or heading in headings(target), link


def headings(document: Path) -> set[str]:
    """Return the headings of a document as links spell them."""
    lines = re.findall(r"^#+ (.*)$", document.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}
