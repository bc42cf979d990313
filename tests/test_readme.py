"""What the README shows must work as it stands there."""

import csv
import re
import statistics
from collections import defaultdict

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_five_lines_of_python_run(tmp_path, monkeypatch, capsys):
    program = next(block for block in blocks("python") if "trainer.fit" in block)
    assert len([line for line in program.splitlines() if line.strip()]) <= 5
    short = '"configs/point2d.yaml", **{"trainer.max_epochs": 1, "warmup.episodes": 2, "evaluation.episodes": 3'
    short += f', "trainer.default_root_dir": "{tmp_path}"}}'
    monkeypatch.chdir(ROOT)
    exec(compile(program.replace('"configs/point2d.yaml"', short), "README.md", "exec"), {})
    assert "success_rate" in capsys.readouterr().out
    assert list(tmp_path.rglob("last.ckpt"))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:configs|benchmarks)/[\w./-]+", README))))
def test_every_file_that_the_readme_names_exists(path: str):
    assert (ROOT / path.rstrip(".")).exists()


def test_the_setup_is_two_commands_and_continuous_integration_runs_the_second():
    assert "python -m mher_pl fit --config configs/fetch.yaml" in README
    assert "\nRun the tests:\n\n```" in README
    assert "pytest" in README.split("\nRun the tests:\n")[1].split("```")[1]


def rows(header: str) -> list[list[str]]:
    """Return the cells of the table whose header begins so."""
    lines = README[README.index(header) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|--")]


def medians(folder: str) -> dict[str, dict[int, float]]:
    """Return MHER's median success rate over seeds by task and epoch."""
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    with (RESULTS / folder / "curves.csv").open() as file:
        for row in csv.DictReader(file):
            if row["algorithm"] == "mher":
                rates[row["task"], int(row["epoch"])].append(float(row["success_rate"]))
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for (task, epoch), values in rates.items():
        curves[task][epoch] = statistics.median(values)
    return curves


def test_the_learning_curves_in_the_table_are_those_of_the_results():
    header, *table = rows("| task | epoch 1 |")
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
    assert checked == 7


def test_the_targets_are_those_of_the_benchmark():
    table = README[README.index("| target | value |") :].split("\n\n")[0]
    assert table in (RESULTS / "speed.md").read_text()


def test_the_speeds_of_environments_are_those_of_the_benchmark():
    text = (RESULTS / "envs.md").read_text()
    for name, *cells in rows("| task | batch |")[1:]:
        (line,) = [line for line in text.splitlines() if re.match(rf"\| (mher_pl/)?{re.escape(name)}(-v\d)? \|", line)]
        written = [cell.strip() for cell in line.strip("|").split("|")]
        assert set(cells) - {"no physics"} <= set(written), name
