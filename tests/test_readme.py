"""What the README and the other documents show must work as it stands there."""

import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

import mher_pl
from tests.conftest import ROOT, SMALL

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = ROOT / "benchmarks" / "results"


def block(document: str, language: str, content: str) -> str:
    """Return the block of a document that holds `content`."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), flags=re.DOTALL)
    (found,) = (text for text in blocks if content in text)
    return found


# Programs


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Return a function that writes files and trains their config for an epoch, with all callbacks, in their folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def train(files: dict[str, str], *configs: str, **settings: object) -> Path:
        for name, text in files.items():
            Path(name).write_text(text)
        small = {key: value for key, value in SMALL.items() if key != "trainer.enable_progress_bar"}
        run = mher_pl.load(*configs, **small | {"relabel_goals.every_n_epochs": 1} | settings)
        run.trainer.fit(run.model, run.datamodule)
        return Path(run.trainer.default_root_dir)

    return train


def test_the_five_lines_of_python_run(tmp_path, monkeypatch, capsys):
    program = block("docs/running.md", "python", "trainer.fit")
    assert len([line for line in program.splitlines() if line.strip()]) <= 5
    short = '"configs/point2d.yaml", **{"trainer.max_epochs": 1, "warmup.episodes": 2, "evaluation.episodes": 3'
    short += f', "trainer.default_root_dir": "{tmp_path}"}}'
    monkeypatch.chdir(ROOT)
    exec(compile(program.replace('"configs/point2d.yaml"', short), "running.md", "exec"), {})
    assert "success_rate" in capsys.readouterr().out
    assert list(tmp_path.rglob("last.ckpt"))


def test_the_lines_that_use_the_policy_run(train):
    program = block("README.md", "python", "load_policy")
    run = train({}, "point2d")
    for shown, own in (("runs/FetchReach-v4/mher/seed_0", str(run)), ("FetchReach-v4", "mher_pl/Point2DLarge-v1")):
        program = program.replace(shown, own)
    names: dict = {}
    exec(compile(program, "README.md", "exec"), names)
    assert names["reward"] in (0.0, -1.0)


def test_the_agent_of_ones_own_trains_with_every_callback_and_gives_a_policy(train):
    agent, config = block("README.md", "python", "(Agent)"), block("README.md", "yaml", "my_agent.")
    run = train({"my_agent.py": agent, "shooting.yaml": config}, "point2d", "shooting.yaml")
    assert run.parts[-3:] == ("Point2DLarge-v1", "shooting", "seed_0")
    assert mher_pl.load_policy(run)([0.0, 0.0], [1.0, 1.0]).shape == (2,)


def test_the_relabeller_of_ones_own_trains(train):
    relabeller, config = block("docs/methods.md", "python", "(Relabel)"), block("README.md", "yaml", "my_goals.")
    assert config == block("docs/methods.md", "yaml", "my_goals.")
    assert train({"my_goals.py": relabeller, "next_state.yaml": config}, "point2d", "next_state.yaml").is_dir()


def test_the_task_of_ones_own_trains(train):
    task = block("docs/tasks.md", "python", "gymnasium.register")
    assert train({"my_task.py": task}, "fetch", **{"data.env": "my_task:Cart-v0", "data.env_kwargs": {}}).is_dir()


# Words


def test_the_readme_is_read_in_three_minutes():
    assert len(README.read_text().splitlines()) <= 150


def test_the_setup_is_two_commands_and_continuous_integration_runs_the_second():
    text = README.read_text()
    assert "python -m mher_pl fit --config configs/fetch.yaml" in text
    assert "\nRun the tests:\n\n```" in text
    assert "pytest" in text.split("\nRun the tests:\n")[1].split("```")[1]


FILE = r"(?<![\w/])((?:configs|benchmarks|callbacks|mher_pl|tests|docs)/[\w./-]+)"


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


# Numbers


def rows(document: str, header: str) -> list[list[str]]:
    """Return the cells of the table whose header begins so."""
    text = (ROOT / document).read_text()
    lines = text[text.index(header) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|--")]


def medians(folder: str, algorithm: str = "mher") -> dict[str, dict[int, float]]:
    """Return a method's median success rate over seeds by task and epoch."""
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    with (RESULTS / folder / "curves.csv").open() as file:
        for row in csv.DictReader(file):
            if row["algorithm"] == algorithm:
                rates[row["task"], int(row["epoch"])].append(float(row["success_rate"]))
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for (task, epoch), values in rates.items():
        curves[task][epoch] = statistics.median(values)
    return curves


@pytest.mark.parametrize(("document", "tasks"), [("README.md", 5), ("docs/results.md", 7)])
def test_the_learning_curves_in_a_table_are_those_of_the_results(document: str, tasks: int):
    header, *table = rows(document, "| task | epoch 1 |")
    epochs = [int(cell.removeprefix("epoch ")) for cell in header[1:-1]]
    folders = {
        "methods_point2d": "methods",
        "mher_points": "points",
        "mher_four_room_4": "points",
        "mher_robots": "robots",
    }
    checked = 0
    for name, *cells, command in table:
        if name == "theirs":
            continue
        curves = medians(folders[re.search(r"sweeps/(\w+)", command)[1]])
        task, _, arena = name.partition(", b = ")
        (curve,) = [c for key, c in curves.items() if key.startswith(task) and (not arena or f"dist={arena})" in key)]
        assert [f"{curve[epoch]:.2f}" for epoch in epochs] == cells, name
        checked += 1
    assert checked == tasks


def test_the_methods_are_those_of_the_results():
    (text,) = re.findall(r"```text\n(.*?)```", (ROOT / "docs" / "methods.md").read_text(), flags=re.DOTALL)
    written = {}
    for line in text.splitlines():
        if line.endswith("success rate after the last epoch"):
            task = line.split(":")[0]
        elif match := re.match(r"  (\w+) +\d+ +([\d.]+) +([\d.]+) \[", line):
            written[task, match[1]] = match[2], match[3]
    with (RESULTS / "methods" / "summary.csv").open() as file:
        for row in csv.DictReader(file):
            values = row["median_final_success"], row["iqm_final_success"]
            assert written.pop((row["task"], row["algorithm"])) == tuple(f"{float(value):.3f}" for value in values)
    assert not written


def test_what_mapgo_learns_is_that_of_the_results():
    header, *table = rows("docs/methods.md", "| method | Point2DLarge, b = 4, epoch 5 |")
    epochs = [int(cell.split()[-1]) for cell in header[1:]]
    for name, *cells in table:
        algorithm = name.strip("`")
        curves = medians("mapgo" if algorithm == "mapgo" else "methods", algorithm)
        point, fetch = (
            next(curve for task, curve in curves.items() if task[:5] == start) for start in ("Point", "Fetch")
        )
        expected = [point[epoch] for epoch in epochs[:5]] + [fetch[epoch] for epoch in epochs[5:]]
        assert [f"{rate:.2f}" for rate in expected] == cells, name


def test_the_targets_are_those_of_the_benchmark():
    text = (ROOT / "docs" / "speed.md").read_text()
    assert text[text.index("| target | value |") :].split("\n\n")[0] in (RESULTS / "speed.md").read_text()


def test_the_cost_of_a_planned_action_is_that_of_the_benchmark():
    text = (ROOT / "docs" / "methods.md").read_text()
    assert text[text.index("| overlay | 10^9 operations") :].split("\n\n")[0] in (RESULTS / "planner.md").read_text()


def test_the_speeds_of_environments_are_those_of_the_benchmark():
    text = (RESULTS / "envs.md").read_text()
    for name, *cells in rows("docs/speed.md", "| task | batch |")[1:]:
        (line,) = [line for line in text.splitlines() if re.match(rf"\| (mher_pl/)?{re.escape(name)}(-v\d)? \|", line)]
        written = [cell.strip() for cell in line.strip("|").split("|")]
        assert set(cells) - {"no physics"} <= set(written), name


def test_what_was_found_of_the_theorems_is_that_of_the_benchmark():
    text, found = (ROOT / "docs" / "theory.md").read_text(), (RESULTS / "theory.md").read_text()
    tables = [part for part in text.split("\n\n") if part.startswith("| statement")]
    assert len(tables) == 2
    assert all(table in found for table in tables)
