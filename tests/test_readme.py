"""What the README shows must work as it stands there."""

import re

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


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
