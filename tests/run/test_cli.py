"""The command line as a user meets it, in this process; `main` returns the exit code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import mher_pl
from mher_pl import load
from mher_pl.__main__ import main
from mher_pl.errors import UserError
from tests.conftest import ROOT, SMALL
from tests.events import events, scalars

POINT2D = str(ROOT / "configs" / "point2d.yaml")


@pytest.fixture
def command(tmp_path: Path, capsys):
    """Run a subcommand on Point2D, small and below `tmp_path`; returns exit code, output and errors."""

    def run(subcommand: str, *extra: str, config: str = POINT2D) -> tuple[int, str, str]:
        small = [f"--{key}={value}" for key, value in SMALL.items()] + [f"--trainer.default_root_dir={tmp_path}"]
        code = main([subcommand, "--config", config, *small, *extra])
        return code, *capsys.readouterr()

    return run


def test_fit_validate_and_test_on_point2d(command, tmp_path):
    assert command("fit", "--trainer.max_epochs=2")[0] == 0
    run = tmp_path / "Point2DLarge-v1" / "mher" / "seed_0"
    last = str(run / "checkpoints" / "last.ckpt")
    assert (run / "config.yaml").is_file()
    assert list((run / "checkpoints").glob("best*.ckpt"))
    for subcommand in ("validate", "test"):
        code, out, _ = command(subcommand, f"--ckpt_path={last}", "--evaluation.episodes=7")
        assert code == 0
        assert re.match(r"7 episodes of mher_pl/Point2DLarge-v1; .*\n  success_rate +[\d.]+  \[[\d.]+, [\d.]+\]\n", out)


def test_the_tags_and_hyperparameters_that_the_design_names_are_logged(command, tmp_path):
    command("fit")
    run = tmp_path / "Point2DLarge-v1" / "mher" / "seed_0"
    tags = set(scalars(run))
    evaluation = {f"eval/{name}" for name in ("success_rate", "success_any", "return", "final_distance", "q_mean")}
    training = {
        f"train/{name}" for name in ("success_rate", "critic_loss", "actor_loss", "imitation_loss", "model_loss")
    }
    time = {f"time/{name}" for name in ("collect", "update", "evaluate", "other", "wall")}
    assert tags >= evaluation | training | time | {"relabel/goal_distance"}
    assert all(list(steps) == [300] for steps in scalars(run).values()), "every value at the run's environment steps"
    assert events(run).summary_metadata["_hparams_/experiment"]


def test_a_second_run_never_touches_the_first(command, tmp_path):
    command("fit")
    first = tmp_path / "Point2DLarge-v1" / "mher" / "seed_0"
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    command("fit")
    assert (tmp_path / "Point2DLarge-v1" / "mher" / "seed_0-2" / "checkpoints" / "last.ckpt").is_file()
    assert before == {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}


def test_with_a_logger_of_the_users_own_the_run_keeps_its_folder(command, tmp_path):
    logger = ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", f"--trainer.logger.save_dir={tmp_path / 'logs'}"]
    code, out, _ = command("fit", *logger)
    run = tmp_path / "Point2DLarge-v1" / "mher" / "seed_0"
    assert (code, out.strip()) == (0, "")
    assert sorted(path.name for path in run.iterdir()) == [".lock", "checkpoints", "config.yaml", "metrics.csv"]
    assert "eval/success_rate" in next((tmp_path / "logs").rglob("metrics.csv")).read_text()
    assert not list((tmp_path / "logs").rglob("*.ckpt"))


def test_the_saved_config_is_one_whole_file(command, tmp_path):
    sampler = tmp_path / "sampler.yaml"
    sampler.write_text("class_path: mher_pl.sampler.Uniform\n")
    assert command("fit", f"--data.sampler={sampler}")[0] == 0
    run = tmp_path / "Point2DLarge-v1" / "mher" / "seed_0"
    assert sorted(path.name for path in run.glob("*.yaml")) == [
        "config.yaml",
        "hparams.yaml",
    ]  # the latter TensorBoard's
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["sampler"]["class_path"].endswith("Uniform")


def test_the_config_is_saved_by_a_fit_that_follows_an_evaluation(build):
    cli = build("point2d")
    cli.trainer.validate(cli.model, cli.datamodule)
    cli.trainer.fit(cli.model, cli.datamodule)
    assert (Path(cli.trainer.default_root_dir) / "config.yaml").is_file()


def test_settings_from_python_are_those_of_the_command_line(build):
    assert build("point2d", "algorithms/her", **{"model.dynamics": None}).model.dynamics is None
    assert build("point2d", **{"data.goal_indices": [0, 1]}).datamodule.task.goal_indices == (0, 1)


def test_the_saved_config_repeats_the_run(command, tmp_path):
    command("fit", "--model.imitation_weight=1.5", "--seed_everything=7")
    run = tmp_path / "Point2DLarge-v1" / "mher" / "seed_7"
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]["imitation_weight"] == 1.5
    assert main(["fit", "--config", str(run / "config.yaml")]) == 0
    weights = [
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in (run, run.with_name("seed_7-2"))
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_tasks_config_behind_another_is_refused(capsys):
    assert main(["fit", "--config=her", "--config=point2d"]) == 1
    assert re.fullmatch(
        r"error: --config is '.*point2d.yaml' behind '.*her.yaml'; allowed: first, for .*\n", capsys.readouterr().err
    )


def test_any_goal_environment_works_by_its_id(command, tmp_path):
    push = ["--data.env=FetchPush-v4", "--data.env_kwargs={}", "--data.batches_per_episode=1"]
    code, _, err = command("fit", *push, config=str(ROOT / "configs" / "fetch.yaml"))
    assert code == 0, err
    config = yaml.safe_load((tmp_path / "FetchPush-v4" / "mher" / "seed_0" / "config.yaml").read_text())
    assert config["data"]["goal_indices"] is None
    assert scalars(tmp_path / "FetchPush-v4" / "mher" / "seed_0")["eval/success_rate"].keys() == {7 * 50}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--data.env=NoSuchEnv-v0", 1, "data.env is 'NoSuchEnv-v0'; allowed: the id of a Gymnasium goal environment"),
        ("--data.env=CartPole-v1 --data.env_kwargs={}", 1, "data.env is 'CartPole-v1'"),
        ("--data.env_kwargs.boundary_dits=3", 1, "data.env_kwargs is {'boundary_dist': 5.0, 'boundary_dits': 3}"),
        ("--data.env_kwargs.boundary_dist=-1", 1, "boundary_dist is -1"),
        ("--seed=3", 2, "seed is no setting; .*did you mean seed_everything?"),
        ("--batch_size=3", 2, "batch_size is no setting; .*did you mean data.batch_size or warmup.batch_size?"),
        ("--trainer.max_epoch=3", 2, "trainer.max_epoch is no setting; .*did you mean trainer.max_epochs?"),
        ("--model.relabel=Futur", 2, "model.relabel is 'Futur'; allowed: .*did you mean Future?"),
        ("--model.relabel=no_such.A", 2, "model.relabel is 'no_such.A' .not found in the folder where the "),
        ("--model.relabel=mher_pl.relabel.Nope", 2, "is 'mher_pl.relabel.Nope' .not found in the folder where"),
        ("--model.relabel=mher_pl.relabel.Relabel", 2, "is 'mher_pl.relabel.Relabel' .it lacks goals.; allowed"),
        ("--config=mher_plus --model.relabel=Future", 2, "model.relabel.ratio is missing; allowed: what its class"),
        ("--data.source=StoredEpisodes", 2, "data.source.path is missing; allowed: what its class"),
        ("--config=plangan --model.planner.choose=worst", 2, "model.planner.choose is 'worst'; allowed: best, mean"),
        ("--config=plangan --model.betas=[0.5]", 2, "model.betas is '.0.5.'; allowed: a list of 2 values"),
        ("--config=plangan --data.batch_size=4", 1, "data.batch_size is 4; allowed: at least "),
        ("--config=plangan --warmup.batch_size=4", 1, "warmup.batch_size is 4; allowed: at least "),
        ("--data.batchsize=3", 2, "data.batchsize is no setting; allowed: .*did you mean data.batch_size?"),
        (
            "--model.imitation_wieght=3",
            2,
            "model.imitation_wieght is no setting; .*did you mean model.imitation_weight?",
        ),
        ("--data.batch_size=abc", 2, "data.batch_size is 'abc'; allowed: int"),
        ("--data.batch_size=0", 1, "data.batch_size is 0; allowed: an integer of at least 1"),
        ("--data.capacity=50", 1, "data.capacity is 50; allowed: at least one episode"),
        ("--data.exploration.noise=-0.1", 1, "data.exploration.noise is -0.1; allowed: a number of at least 0"),
        (
            "--data.exploration.random_action_probability=2",
            1,
            "data.exploration.random_action_probability is 2.0; allowed: a probability",
        ),
        ("--model.critic.lr=0", 1, "model.critic.lr is 0.0; allowed: a number above 0"),
        ("--model.inputs.clip=0", 1, "model.inputs.clip is 0.0; allowed: a number above 0"),
        ("--data.goal_indices=[0,7]", 1, r"data.goal_indices is \[0, 7\]; allowed: 2 entries from 0 to 1"),
        ("--model.relabel.ratio=1.5", 1, "model.relabel.ratio is 1.5; allowed: a probability from 0 to 1"),
        ("--model.relabel.steps=-1", 1, "model.relabel.steps is -1; allowed: an integer of at least 0"),
        ("--model.relabel=NoSuch", 2, "model.relabel is 'NoSuch'; allowed: the name of a class"),
        ("--model.imitation_weight=-1", 1, "model.imitation_weight is -1.0; allowed: a number of at least 0"),
        ("--model.discount=1", 1, "model.discount is 1.0; allowed: a number from 0 to below 1"),
        ("--model.dynamics=null", 1, "model.dynamics is null; allowed: "),
        ("--model.dynamics.members=0", 1, "model.dynamics.members is 0; allowed: an integer of at least 1"),
        ("--evaluation.episodes=0", 1, "evaluation.episodes is 0; allowed: an integer of at least 1"),
        ("--warmup.batch_size=0", 1, "warmup.batch_size is 0; allowed: an integer of at least 1"),
        ("--seed_everything=-3", 1, "seed_everything is -3; allowed: an integer of at least 0"),
        ("--threads=0", 1, "threads is 0; allowed: an integer of at least 1"),
        ("--algorithm=a/b", 1, "algorithm is 'a/b'; allowed: a name"),
        ("--trainer.strategy=ddp_spawn", 1, "trainer.strategy is 'ddp_spawn'; allowed: auto, ddp, seed_parallel"),
        ("--trainer.accelerator=foo", 1, "trainer.accelerator is 'foo'; allowed: auto, cpu"),
        ("--trainer.devices=foo", 1, "trainer.devices is 'foo'; Lightning says: "),
        ("--trainer.check_val_every_n_epoch=0", 1, "trainer.check_val_every_n_epoch is 0; allowed: an integer"),
        ("--trainer.precision=64-true", 1, "trainer.precision is '64-true'; allowed: 32-true"),
        ("--trainer.max_epochs=-5", 1, "max_epochs"),
        ("--trainer.devices=0", 1, "devices"),
        ("--ckpt_path=nowhere.ckpt", 1, "ckpt_path is 'nowhere.ckpt', which does not exist; allowed: a checkpoint"),
        (
            "--trainer.default_root_dir=/proc/no",
            1,
            "trainer.default_root_dir is '/proc/no' .No such file or directory.; allowed: a folder that can be",
        ),
        ("--config=nowhere.yaml", 1, "--config is 'nowhere.yaml'; allowed: a YAML file, or one of the names .*fetch, "),
        ("--config fecth", 1, "--config is 'fecth'; allowed: a YAML file, or one of the names .*fetch, "),
    ],
)
def test_bad_input_is_one_line_before_training(arguments: str, code: int, message: str, command, tmp_path):
    got, out, err = command("fit", *arguments.split())
    assert got == code
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("error: ")

    assert re.search(message.replace("?", r"\?"), err), err
    assert out == ""
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(("command", "limit"), [("validate", "limit_val_batches"), ("test", "limit_test_batches")])
def test_an_evaluation_of_nothing_is_refused(command, limit, trained, capsys):
    folder = trained.trainer.default_root_dir
    assert main([command, str(folder), f"--trainer.{limit}=0"]) == 1
    assert f"trainer.{limit} is 0; allowed: more than 0 in {command}" in capsys.readouterr().err


def test_the_short_form_of_an_option_is_that_option(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "-c=point2d", "-c", "her", "--help"])
    assert "model.relabel" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["validate", "test"])
def test_an_evaluation_needs_a_checkpoint(command, name):
    code, out, err = command(name)
    assert (code, out) == (1, "")
    assert err.startswith(
        f"error: ckpt_path is missing; allowed: {name} RUN, or --ckpt_path RUN; RUN is a run's folder,"
    )


def test_two_runs_built_before_either_trains_have_folders_of_their_own(build):
    one, other = build("point2d"), build("point2d")
    assert one.trainer.log_dir != other.trainer.log_dir
    for run in (one, other):
        run.trainer.fit(run.model, run.datamodule)
        assert len(list(Path(run.trainer.log_dir).glob("events*"))) == 1


def test_a_task_whose_reward_is_1_at_the_goal_trains_too(command, tmp_path):
    maze = ["--data.env=PointMaze_UMaze-v3", "--data.env_kwargs={max_episode_steps: 20}", "--evaluation.episodes=2"]
    code, _, err = command("fit", *maze)
    assert code == 0, err
    assert scalars(tmp_path / "PointMaze_UMaze-v3" / "mher" / "seed_0")["train/success_rate"].keys() == {60}


def test_a_misspelt_key_in_a_config_file_is_named_in_full(command, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("model:\n  relabel:\n    init_args:\n      ratoi: 0.5\n")
    code, _, err = command("fit", f"--config={overlay}", config="point2d")
    assert code == 2
    assert err.startswith("error: model.relabel.ratoi is no setting; allowed: ")
    assert "did you mean model.relabel.ratio?" in err


def test_configs_by_name_are_those_of_the_package_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [f"--{key}={value}" for key, value in SMALL.items()]
    assert main(["fit", "--config", "point2d", "--config=her", *small]) == 0
    config = yaml.safe_load(Path("runs/Point2DLarge-v1/her/seed_0/config.yaml").read_text())
    assert config["model"]["init_args"]["relabel"]["class_path"] == "mher_pl.relabel.Future"


def test_the_working_folders_configs_come_before_those_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/algorithms").mkdir(parents=True)
    Path("configs/algorithms/her.yaml").write_text("algorithm: mine\nmodel:\n  discount: 0.5\n")
    parts = load("point2d", "her", **{"trainer.max_epochs": 1})
    assert parts.model.discount == 0.5
    assert parts.trainer.default_root_dir == "runs/Point2DLarge-v1/mine/seed_0"


def test_names_from_python_are_those_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data, trainer = mher_pl.load("reacher", "ddpg")
    assert data.task.env == "mher_pl/Reacher-v1"
    assert model.imitation_weight == 0.0
    assert trainer.default_root_dir == "runs/Reacher-v1/ddpg/seed_0"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("fecth", {}, r"--config is 'fecth'; allowed: a YAML file, or one of the names "),
        ("point2d", {"model.imitation_wieght": 3}, r"model.imitation_wieght is no setting; .*model.imitation_weight\?"),
        ("point2d", {"data.batch_size": "abc"}, "data.batch_size is 'abc'; allowed: int"),
        ("point2d", {"seed_everything": -1}, "seed_everything is -1; allowed: an integer of at least 0"),
        (
            "point2d",
            {"trainer.strategy": "seed_parallel"},
            "'seed_parallel' in a sweep or mher_pl.load; allowed: in fit",
        ),
    ],
)
def test_mistakes_in_python_are_the_errors_of_the_command_line(tmp_path, name, settings, message):
    with pytest.raises(UserError, match=message) as error:
        mher_pl.load(name, **{"trainer.default_root_dir": tmp_path} | settings)
    assert "\n" not in str(error.value)


def test_a_missing_config_is_named(capsys):
    assert main(["fit"]) == 1
    assert "--config is missing; allowed: --config fetch, the name of a task or a YAML file" in capsys.readouterr().err
    assert main(["test", "--trainer.accelerator=cpu", "RUN"]) == 1
    assert "--config is missing; allowed: test RUN [options], with RUN first, or --config" in capsys.readouterr().err


def test_nan_stops_training_with_the_place_and_keeps_the_last_good_checkpoint(command, tmp_path, monkeypatch):
    from mher_pl.mher import MHER

    critic_loss, calls = MHER.critic_loss, []

    def broken(self, batch):
        calls.append(None)
        return critic_loss(self, batch) * (float("nan") if len(calls) > 7 else 1.0)

    monkeypatch.setattr(MHER, "critic_loss", broken)
    code, _, err = command("fit", "--trainer.max_epochs=5")
    assert code == 1
    assert err == "error: train/critic_loss is nan after 400 environment steps\n"
    checkpoint = tmp_path / "Point2DLarge-v1" / "mher" / "seed_0" / "checkpoints" / "last.ckpt"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_an_unknown_command_and_help(capsys):
    assert main(["train"]) == 2
    assert "command is 'train'; allowed: fit, validate, test" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "fit" in capsys.readouterr().out


def test_help_loads_nothing_heavy():
    code = "import sys; from mher_pl.__main__ import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


def test_the_console_script_finds_modules_of_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "my_points.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('My-v0', entry_point='mher_pl.envs.point2d:Point2DEnv', max_episode_steps=9)\n"
    )
    # As for the script of an installed package, which has its own folder on the path and not the working folder.
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    options = ["--config", "point2d", "--data.env", "my_points:My-v0", "--data.env_kwargs", "{}"]
    small = ["--trainer.max_epochs=1", "--warmup.episodes=1", "--warmup.updates=1", "--evaluation.episodes=1"]
    assert main(["fit", *options, *small]) == 0
    assert (tmp_path / "runs" / "My-v0" / "mher" / "seed_0" / "config.yaml").is_file()
