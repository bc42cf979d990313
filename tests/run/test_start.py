"""What a start of `fit` does with the folder, the checkpoint and the settings that it finds."""

import shutil

import pytest
from trained_runs import fit, run_folder

RESUME = "--ckpt_path=last"


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The root of a run of one epoch."""
    root = tmp_path_factory.mktemp("begun")
    assert fit(root, epochs=1) == 0
    return root


def test_every_setting_that_a_resume_names_is_in_force(trained, build):
    changed = {
        "model.init_args.actor_lr": 0.02,
        "model.init_args.critic.init_args.lr": 0.03,
        "model.init_args.dynamics.init_args.lr": 0.04,
        "model.init_args.inputs.init_args.clip": 2.0,
        "model.init_args.relabel.init_args.ratio": 0.5,
        "model.init_args.discount": 0.9,
        "model.init_args.polyak": 0.5,
        "data.exploration.init_args.noise": 0.1,
        "data.batch_size": 16,
    }
    cli = build("point2d", **changed, **{"trainer.max_epochs": 2})
    parts = {**cli.model.parts, **cli.datamodule.parts}
    before = {name: settings(part) for name, part in parts.items()}
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=trained.trainer.default_root_dir + "/checkpoints/last.ckpt")
    assert cli.model.data.env_steps == 400, "it went on"
    optimizers = cli.model.named_optimizers
    assert {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()} == {
        "actor": 0.02,
        "critic": 0.03,
        "dynamics": 0.04,
    }
    first = next(iter(optimizers["actor"].state.values()))
    assert first["step"] == 2 * 5, "what the optimiser has learned is kept"
    assert {name: settings(part) for name, part in parts.items()} == before
    assert (cli.model.discount, cli.model.polyak, cli.datamodule.batch_size) == (0.9, 0.5, 16)


def settings(part) -> dict[str, object]:
    return {name: value for name, value in vars(part).items() if isinstance(value, bool | int | float | str | list)}


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("--warmup.episodes=4", "warmup.episodes is 4; allowed: 2, for in "),
        ("--trainer.fast_dev_run=true", "trainer.fast_dev_run is True; allowed: false with ckpt_path"),
        ("--data.capacity=1000", "data.capacity is 1000; allowed: 1000000, as in the checkpoint"),
        ("--model.init_args.hidden_sizes=[8]", "allowed: "),
    ],
)
def test_a_setting_that_can_no_longer_come_into_force_is_refused_and_changes_nothing(begun, setting, allowed, capsys):
    files = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file() and "events" not in path.name}
    assert fit(begun, RESUME, setting, epochs=2) == 1
    errors = capsys.readouterr().err
    assert allowed in errors
    assert errors.count("\n") == 1
    assert {path: path.read_bytes() for path in files} == files


def test_a_start_that_is_refused_leaves_nothing(tmp_path, capsys):
    refused = ["--warmup.episodes=3", "--data.num_envs=2", "--data.episodes_per_epoch=2"]
    assert fit(tmp_path, *refused) == 1
    assert "warmup.episodes is 3; allowed: a multiple of data.num_envs" in capsys.readouterr().err
    assert list(tmp_path.rglob("seed_*")) == []


def test_a_start_with_anothers_checkpoint_that_is_refused_leaves_nothing(begun, tmp_path, capsys):
    assert fit(tmp_path, f"--ckpt_path={run_folder(begun)}/best", "--data.capacity=50000", epochs=2) == 1
    assert "data.capacity is 50000; allowed: 1000000, as in the checkpoint" in capsys.readouterr().err
    assert list(tmp_path.rglob("seed_*")) == []


def test_a_checkpoint_behind_a_link_names_the_same_changes(begun, tmp_path, capsys):
    (tmp_path / "linked.ckpt").symlink_to(run_folder(begun) / "checkpoints" / "best.ckpt")
    assert fit(tmp_path, f"--ckpt_path={tmp_path}/linked.ckpt", "--warmup.episodes=4", epochs=2) == 1
    assert "warmup.episodes is 4; allowed: 2, for in " in capsys.readouterr().err


def test_training_does_not_begin_with_weights_alone(tmp_path, capsys):
    weights = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.save_weights_only=true"]
    assert fit(tmp_path / "first", *weights, f"--trainer.callbacks.dirpath={tmp_path}", epochs=1) == 0
    (checkpoint,) = tmp_path.glob("*.ckpt")
    assert fit(tmp_path / "second", f"--ckpt_path={checkpoint}", epochs=2) == 1
    assert "allowed: a checkpoint with the states of optimisers, where this one has weights" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


def test_a_trial_of_one_batch_leaves_nothing(tmp_path):
    assert fit(tmp_path, "--trainer.fast_dev_run=true", "--trainer.callbacks+=mher_pl.callbacks.Video") == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_home_is_the_home_folder_in_a_config_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert fit("~/runs", epochs=1) == 0
        assert not (tmp_path / "~").exists()
    parent = run_folder(tmp_path / "home" / "runs").parent
    assert sorted(path.parent.name for path in parent.glob("*/config.yaml")) == ["seed_0", "seed_0-2"]
    assert fit("~/runs", "--ckpt_path=~/runs/Point2DLarge-v1/mher/seed_0", epochs=2) == 0


def test_a_url_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert fit("s3://bucket/runs") == 1
    assert "trainer.default_root_dir is 's3://bucket/runs'; allowed: a path of this machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_last_is_not_taken_up_by_a_later_run_that_has_no_checkpoint(begun, capsys):
    later = run_folder(begun, name="seed_0-2")
    later.mkdir()
    (later / "config.yaml").touch()
    assert fit(begun, RESUME, epochs=2) == 1
    errors = capsys.readouterr().err
    assert f"seed_0-2 ended before its first checkpoint; allowed: {run_folder(begun)}, or last once" in errors
    shutil.rmtree(later)
