"""Configs and command lines that cannot be: each ends before training with one line, and nothing is left on disk."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from trained_runs import start_command

from mher_pl.__main__ import main
from mher_pl.data import GoalDataModule
from tests.broken_configs import Broken, broken_configs
from tests.conftest import ROOT


@pytest.fixture
def never_trains(monkeypatch):
    """Fail where training, or another process, begins."""

    def fail(*args, **kwargs):
        pytest.fail("training began")

    monkeypatch.setattr(GoalDataModule, "collect", fail)
    monkeypatch.setattr(_SubprocessScriptLauncher, "_call_children_scripts", fail)


def assert_refused(code: int, out: str, err: str, root: Path, names: Sequence[str] = ("",)) -> None:
    """Assert that the program ended with one line that has one of `names`, and wrote nothing below `root`."""
    assert code in (1, 2), err
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert len(err.rstrip("\n")) <= 300, err
    assert any(name in err for name in names), (names, err)
    assert out == ""
    assert not root.exists(), list(root.rglob("*"))


def run(folder: Path, broken: Broken, capsys) -> None:
    """Fit a broken config and assert that it is refused."""
    configs = []
    for number, content in enumerate(broken.files):
        path = folder / f"{number}.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        configs += ["--config", str(path)]
    capsys.readouterr()
    code = main(["fit", *configs, f"--trainer.default_root_dir={folder / 'runs'}", *broken.options])
    assert_refused(code, *capsys.readouterr(), folder / "runs", broken.names)


@pytest.mark.slow
@settings(
    max_examples=400, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(broken=broken_configs())
def test_a_broken_config_is_refused_by_one_line(never_trains, capsys, broken):
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), broken, capsys)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--trainer.val_check_interval=0", "trainer.val_check_interval is 0; allowed: a share of an epoch up to 1.0"),
        ("--trainer.val_check_interval=7", "trainer.val_check_interval is 7; Lightning says: "),
        ("--trainer.limit_train_batches=-1", "trainer.limit_train_batches is -1; allowed: "),
        ("--trainer.max_time=abc", "trainer.max_time is 'abc'; Lightning says: "),
        ("--trainer.gradient_clip_val=1", "trainer.gradient_clip_val is 1; allowed: null"),
        ("--trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches is 2; allowed: 1"),
        ("--trainer=5", "trainer is '5'; allowed: settings below it, as in configs/*.yaml"),
        ("--trainer.accelerator=tpu", "trainer.accelerator is 'tpu'; allowed: auto, cpu, gpu, cuda"),
        ("--trainer.devices=100000", "trainer.devices is '100000', which takes 29,999.7 GB of memory, and "),
        ("--trainer.logger=nosuch", "trainer.logger is 'nosuch'; allowed: the name of a class"),
        (
            "--trainer.logger=CometLogger",
            "trainer.logger is lightning.pytorch.loggers.CometLogger, which cannot be built",
        ),
        ("--trainer.callbacks+=EarlyStopping", "trainer.callbacks.monitor is missing; allowed: "),
        (
            "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=eval/succes",
            "EarlyStopping.monitor is 'eval/",
        ),
        (
            "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=seeds/success_median",
            "EarlyStopping.monitor is 'seeds/success_median'; allowed: ",
        ),
        ("--warmup.batch_size=2000000000", "warmup.batch_size is 2000000000, which takes "),
        ("--evaluation.episodes=2000000000", "evaluation.episodes is 2000000000, which takes "),
        ("--data.capacity=1000000000000", "data.capacity is 1000000000000, which takes 32,160.0 GB of memory, and "),
        ("--data.batch_size=1e20", "data.batch_size is '1e20'; allowed: int"),
        ("--data.batch_size=100000000000000000000", "data.batch_size is 100000000000000000000; allowed: an integer"),
        ("--model.critic.lr=1e20", "model.critic.lr is 1e+20; allowed: a number above 0, at most 1e+09"),
        ("--model.hidden_sizes=[1000000,1000000]", "model takes more memory than is free, "),
        (
            "--data.env_kwargs.boundary_dist=1e300",
            "data.env_kwargs {'boundary_dist': 1e+300}, whose observation has NaN, infinity or",
        ),
        ("--model.relabel=null", "model.relabel is null; allowed: "),
        ("--data.sampler=null", "data.sampler is 'null'; allowed: the name of a class of the kind Sampler"),
        ("--nosuch=3", "nosuch is no setting; allowed: the keys of configs/*.yaml\n"),
        (
            "--data.nosie=3",
            "data.nosie is no setting; allowed: the keys of configs/*.yaml; did you mean data.exploration",
        ),
        ("--trainer.val_check_intervall=3", "did you mean trainer.val_check_interval?"),
        ("--config=/etc/passwd", "--config is '/etc/passwd', "),
        ("--config=/bin/true", "--config is '/bin/true', no YAML; allowed: a YAML file of settings"),
        (f"--config={'x' * 300}", "--config is 'xxx"),
        (f"--algorithm={'x' * 300}", "algorithm is 'xxx"),
        (f"--data.env={'x' * 300}", "data.env is 'xxx"),
        (f"--ckpt_path={'x' * 300}", "ckpt_path is 'xxx"),
        ("--config=no_mbr --model.relabel.relabel.steps=-5", "model.relabel.relabel.steps is -5; allowed: an integer"),
        (
            '--config=her_mixed --model.relabel.relabellers=[{"class_path":"Future","init_args":{"ratio":1.5}}]',
            "model.relabel.relabellers.ratio is 1.5; allowed: ",
        ),
        ("--threads=1000000000000", "threads is 1000000000000; allowed: an integer of at least 1, at most 1024"),
    ],
)
def test_known_bad_input_is_refused_by_one_line(never_trains, tmp_path, capsys, option, message):
    root = tmp_path / "runs"
    code = main(["fit", "--config", "point2d", f"--trainer.default_root_dir={root}", *option.split()])
    assert_refused(code, *capsys.readouterr(), root, [message])


@pytest.mark.parametrize("section", ["data", "model", "trainer", "warmup", "evaluation", "relabel_goals", "goal_map"])
def test_a_list_in_place_of_settings_is_refused(never_trains, tmp_path, capsys, section):
    config, root = tmp_path / "config.yaml", tmp_path / "runs"
    config.write_text(f"{section}: [1]\n")
    code = main(["fit", "--config", "point2d", "--trainer.default_root_dir", str(root), "--config", str(config)])
    assert_refused(code, *capsys.readouterr(), root, [section])


def test_a_folder_with_too_long_a_name_is_refused(never_trains, capsys):
    assert main(["fit", "--config", "point2d", f"--trainer.default_root_dir=/tmp/{'x' * 300}"]) == 1
    assert capsys.readouterr().err.startswith("error: trainer.default_root_dir is '/tmp/xxx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "option", ["--trainer.val_check_interval=7", "--nosuch", "--data.capacity=1000000000000", "--config=/etc/passwd"]
)
def test_a_real_process_refuses_bad_input_by_one_line(tmp_path, option):
    root = tmp_path / "runs"
    config = str(ROOT / "configs" / "point2d.yaml")
    process = start_command("fit", "--config", config, f"--trainer.default_root_dir={root}", option)
    out, err = process.communicate(timeout=300)
    assert_refused(process.returncode, out, err, root)
