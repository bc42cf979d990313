from pathlib import Path

import pytest
from trained_runs import fit, run_folder

from mher_pl.callbacks import Evaluation, RunCheckpoint
from mher_pl.storage.checkpoint import read_checkpoint
from mher_pl.storage.folder import checkpoint_file


@pytest.fixture
def success_rates(monkeypatch) -> list[float]:
    """What the evaluations of the next runs find, one after the other."""
    rates: list[float] = []
    monkeypatch.setattr(Evaluation, "_mean_over_workers", lambda *args: {"eval/success_rate": rates.pop(0)})
    return rates


def test_the_last_checkpoint_is_written_after_every_epoch_and_not_only_after_the_best(tmp_path, success_rates):
    success_rates += [0.25, 0.25, 0.0]
    assert fit(tmp_path, epochs=3) == 0
    folder = run_folder(tmp_path) / "checkpoints"
    assert read_checkpoint(folder / "last.ckpt")["epoch"] == 2
    assert read_checkpoint(folder / "best.ckpt")["epoch"] == 0


def test_only_the_best_so_far_is_kept_also_over_a_resume(tmp_path, success_rates):
    success_rates += [0.0, 0.5, 0.25]
    assert fit(tmp_path, epochs=3) == 0
    folder = run_folder(tmp_path) / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["best.ckpt", "last.ckpt"]
    success_rates += [0.5]
    assert fit(tmp_path, "--ckpt_path=last", epochs=4) == 0
    assert read_checkpoint(folder / "best.ckpt")["epoch"] == 1, "the first of equals"
    success_rates += [0.75]
    assert fit(tmp_path, "--ckpt_path=last", epochs=5) == 0
    assert read_checkpoint(folder / "best.ckpt")["epoch"] == 4, "Lightning counts from 0"


def test_an_epoch_without_evaluation_is_saved_and_is_never_the_best(tmp_path, success_rates):
    success_rates += [0.5]
    assert fit(tmp_path, "--trainer.check_val_every_n_epoch=2", epochs=3) == 0
    folder = run_folder(tmp_path) / "checkpoints"
    assert read_checkpoint(folder / "best.ckpt")["epoch"] == 1
    assert read_checkpoint(folder / "last.ckpt")["epoch"] == 2


def test_an_evaluation_within_an_epoch_makes_its_end_no_best_one(tmp_path, success_rates):
    success_rates += [0.5, 0.25, 0.75]
    options = "--data.episodes_per_epoch=3", "--trainer.val_check_interval=2"
    assert fit(tmp_path, *options, epochs=1) == 0
    folder = run_folder(tmp_path) / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert fit(tmp_path, "--data.episodes_per_epoch=2", "--trainer.val_check_interval=1", epochs=1) == 0
    assert len(list(tmp_path.rglob("best.ckpt"))) == 1, "where the epoch ends with one"


def test_checkpoints_of_a_callback_of_ones_own_outlive_a_resume(tmp_path):
    own = "{class_path: ModelCheckpoint, init_args: {filename: 'best-{epoch}-own', save_top_k: -1}}"
    assert fit(tmp_path, f"--trainer.callbacks+={own}", epochs=2) == 0
    folder = run_folder(tmp_path)
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert {"best-epoch=0-own.ckpt", "best-epoch=1-own.ckpt", "best.ckpt", "last.ckpt"} == names
    assert fit(tmp_path, f"--trainer.callbacks+={own}", "--ckpt_path=last", epochs=3) == 0
    assert names < {path.name for path in (folder / "checkpoints").iterdir()}
    assert checkpoint_file(folder / "best") == folder / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("filename: best", "ModelCheckpoint.filename is 'best'; allowed: another name, or a dirpath of its own"),
        ("save_last: true", "ModelCheckpoint.save_last is True; allowed: false, for checkpoints/last.ckpt is there"),
    ],
)
def test_a_callback_that_would_write_the_runs_own_files_is_refused(tmp_path, capsys, setting, message):
    own = f"{{class_path: ModelCheckpoint, init_args: {{{setting}}}}}"
    assert fit(tmp_path, f"--trainer.callbacks+={own}") == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("seed_*"))


def test_a_kill_between_writing_the_last_checkpoint_and_naming_it_the_best_is_mended(tmp_path):
    assert fit(tmp_path / "a", epochs=1) == 0
    folder = run_folder(tmp_path / "a") / "checkpoints"
    best = folder / "best.ckpt"
    best.unlink()
    best.touch()  # as if of an earlier epoch
    assert fit(tmp_path / "a", "--ckpt_path=last", epochs=1) == 0
    assert best.samefile(folder / "last.ckpt")


def test_lightning_finds_the_best_by_its_word_for_it(trained, capsys):
    trained.trainer.validate(trained.model, trained.datamodule, ckpt_path="best")
    (checkpoint,) = (callback for callback in trained.trainer.callbacks if isinstance(callback, RunCheckpoint))
    assert Path(trained.trainer.ckpt_path) == checkpoint.best == checkpoint.folder / "best.ckpt"


def test_a_trial_of_a_few_steps_leaves_no_checkpoint(build):
    cli = build("point2d", **{"trainer.fast_dev_run": True})
    cli.trainer.fit(cli.model, cli.datamodule)
    assert not list(Path(cli.trainer.default_root_dir).rglob("*.ckpt"))
