"""Commands beside training: what there is, what a config sets, and evaluating a run by its folder."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from trained_runs import fit, run_folder

import mher_pl
from mher_pl.__main__ import main
from mher_pl.parts import Part
from mher_pl.policy import shipped_policies
from mher_pl.run.listing import PARTS
from tests.conftest import ROOT


def test_list_names_every_config_and_every_part_in_a_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert {path.stem for path in (ROOT / "configs").rglob("*.yaml")} <= set(names)
    assert {"ModelBased", "SingleCritic", "RelativeGoals", "MaximumEntropy", "Collected", *PARTS} <= set(names)
    assert set(shipped_policies()) <= set(names)
    assert not {"Relabel", "Critic", "DynamicsModel"} & set(names), "base classes are nothing to choose"
    assert "  her                 HER: DDPG on goals that were achieved later in the same episode" in "\n".join(lines)


def test_no_kind_of_part_is_left_out_of_the_list():
    listed = {getattr(import_module(base.rpartition(".")[0]), base.rpartition(".")[2]) for base in PARTS.values()}
    assert {kind for kind in Part.__subclasses__() if kind.__module__.startswith("mher_pl")} == listed


def test_the_working_folders_own_configs_are_listed(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("configs/algorithms").mkdir(parents=True)
    Path("configs/algorithms/mine.yaml").write_text("# My method. It is new.\nalgorithm: mine\n")
    assert main(["list"]) == 0
    assert "  mine                My method.\n" in capsys.readouterr().out


def test_what_is_no_config_among_them_hides_none_of_the_others(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("configs/folder.yaml").mkdir(parents=True)
    Path("configs/latin.yaml").write_bytes("# Straße.\n".encode("latin-1"))
    Path("configs/nowhere.yaml").symlink_to("missing")
    Path("configs/text.yaml").write_text("# A text.\n", encoding="utf-8")
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert "  latin               (cannot be read)\n" in out
    assert "  text                A text.\n" in out
    assert "folder" not in re.findall(r"^  (\w+)", out, flags=re.MULTILINE)
    assert "nowhere" not in out


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mher_pl {mher_pl.__version__}\n"


def test_help_shows_every_setting_of_the_given_config_with_its_value_and_meaning(capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", "point2d", "--config", "her", "--model.discount=0.5", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    for line in (
        "algorithm +her +name of the method in run folders and reports",
        "model.relabel +Future +HER: a goal achieved later in the same episode",
        "model.relabel.ratio +0.8 +share of relabelled rows",
        "model.discount +0.5 ",
        "model.actor_lr +0.001 +Adam's learning rate for the actor",
        "data.exploration.noise +0.2 +standard deviation of the noise",
        "evaluation.episodes +100 +evaluation episodes",
        "trainer.max_epochs +30 ",
    ):
        assert re.search(f"^{line}", out, flags=re.MULTILINE), line
    assert "model.seed" not in out


def test_a_run_is_evaluated_by_its_folder_alone(tmp_path, capsys, monkeypatch):
    assert fit(tmp_path, "--evaluation.episodes=4", epochs=2) == 0
    run = run_folder(tmp_path)
    best = run / "checkpoints" / "best.ckpt"
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    outputs = {}
    for name in (run, run / "last", run / "checkpoints" / "last.ckpt", run / "best", best):
        assert main(["test", str(name), "--evaluation.episodes=3"]) == 0
        outputs[name] = capsys.readouterr().out
        assert outputs[name].startswith("3 episodes of mher_pl/Point2DLarge-v1")
    assert outputs[run] == outputs[run / "last"] == outputs[run / "checkpoints" / "last.ckpt"]
    assert outputs[run / "best"] == outputs[best]
    assert main(["export", str(run / "best"), "--out", "policy.pt2"]) == 0
    assert mher_pl.load_policy(run / "best").env == "mher_pl/Point2DLarge-v1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "ckpt_path is 'nowhere', which does not exist; allowed: a checkpoint, or a run's folder RUN"),
        (["lone.ckpt"], "RUN is 'lone.ckpt', beside which there is no config.yaml; allowed: what lies in a run's"),
        (["lone.ckpt", "--ckpt_path=best"], "ckpt_path is given beside RUN, 'lone.ckpt'; allowed: one of them"),
    ],
)
def test_what_is_no_run_is_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("lone.ckpt").touch()
    assert main(["test", *arguments]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {message}")


def test_a_working_folder_that_was_removed_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path}/gone && rmdir {tmp_path}/gone && {sys.executable} -m mher_pl list"
    path = {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=os.environ | path)
    assert (ended.returncode, ended.stderr) == (
        1,
        "error: the working folder was removed; allowed: one that is there\n",
    )


@pytest.mark.parametrize("command", ["list", "sweep figure_02 --dry-run", "fit --config fetch --help"])
def test_a_reader_that_has_enough_ends_the_command_quietly(command):
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "mher_pl", *command.split()], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")
