import math
import shutil

import pytest
from fake_runs import START, write_config, write_ended, write_metrics, write_run

from mher_pl.compare.runs import IncompleteRun, find_runs, read_run, task_name
from mher_pl.errors import UserError
from mher_pl.storage.metrics import MetricsTable


def rates(run):
    return [point.success_rate for point in run.curve]


def test_a_run_is_read_with_epochs_from_one_and_steps_that_include_the_warmup(tmp_path):
    run = read_run(write_run(tmp_path, [0.25, 0.5, 1.0], algorithm="her", seed=7))
    assert (run.task, run.algorithm, run.seed) == ("Point2DLarge-v1", "her", 7)
    assert run.curve == [(1, 2100, 0.25, 10.0), (2, 2200, 0.5, 20.0), (3, 2300, 1.0, 30.0)]


def test_epochs_between_evaluations_need_no_success_rate(tmp_path):
    write_config(tmp_path, max_epochs=5, trainer={"check_val_every_n_epoch": 2})
    table = MetricsTable(tmp_path, -1)
    for epoch in range(1, 6):
        table.add(epoch, 100 * epoch, {"time/wall": epoch} | ({"eval/success_rate": 0.5} if epoch % 2 == 0 else {}))
    assert [point.epoch for point in read_run(tmp_path).curve] == [2, 4]


def test_of_several_evaluations_within_an_epoch_the_last_counts(tmp_path):
    write_config(tmp_path, max_epochs=1)
    table = MetricsTable(tmp_path, -1)
    table.add(1, 50, {"eval/success_rate": 0.25})
    table.add(1, 100, {"eval/success_rate": 0.5})
    table.add(1, 100, {"time/wall": 7.0})
    assert read_run(tmp_path).curve == [(1, 100, 0.5, 7.0)]


@pytest.mark.parametrize("interval", [1, 3, 0.5])
def test_a_run_that_is_evaluated_within_epochs_is_whole_once_it_has_ended(tmp_path, interval):
    write_config(tmp_path, max_epochs=1, trainer={"val_check_interval": interval})
    MetricsTable(tmp_path, -1).add(1, 50, {"eval/success_rate": 0.25})
    with pytest.raises(IncompleteRun, match="is unfinished: 1 of 1 epochs"):
        read_run(tmp_path)
    write_ended(tmp_path)
    assert rates(read_run(tmp_path)) == [0.25]


def test_a_run_that_is_evaluated_by_steps_alone_is_whole_once_it_has_ended(tmp_path):
    trainer = {"val_check_interval": 30, "check_val_every_n_epoch": None}
    write_config(tmp_path, max_epochs=3, trainer=trainer)
    MetricsTable(tmp_path, -1).add(2, 50, {"eval/success_rate": 0.25})
    with pytest.raises(IncompleteRun, match="is unfinished: 2 of 3 epochs"):
        read_run(tmp_path)
    write_ended(tmp_path)
    assert rates(read_run(tmp_path)) == [0.25]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda run: (run / "config.yaml").unlink(), "has no config.yaml"),
        (lambda run: (run / "config.yaml").write_text("a: [1"), "cannot be read: its config is '.*', no YAML"),
        (lambda run: (run / "config.yaml").write_text("just text"), "cannot be read: its config is '.*', which has no"),
        (lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\xfa"), "cannot be read: its config is '.*', no YAML"),
        (lambda run: (run / "config.yaml").write_text("a: 2024-13-01"), "cannot be read: its config is '.*', no YAML"),
        (lambda run: (run / "config.yaml").write_text("a: 1"), "has no algorithm in its config.yaml"),
        (lambda run: write_config(run, seed="seven"), "has seed_everything 'seven' in its .*, which is not an integer"),
        (lambda run: write_config(run, env=3), "has data.env 3 in its config.yaml, which is not a text"),
        (lambda run: write_config(run, env_kwargs=[1]), r"has data.env_kwargs \[1\] in its .*, which is not settings"),
        (
            lambda run: write_config(run, trainer={"check_val_every_n_epoch": "two"}),
            "has trainer.check_val_every_n_epoch 'two' in its config.yaml, which is not an integer",
        ),
        (lambda run: write_config(run, max_epochs=-1), "is unfinished: 3 of any number of epochs"),
        (lambda run: write_config(run, max_epochs=30), "is unfinished: 3 of 30 epochs"),
        (
            lambda run: (run / "metrics.csv").rename(run / "x") and (run / "metrics.csv").mkdir(),
            "has an unreadable met",
        ),
        (lambda run: (run / "metrics.csv").unlink(), "has no eval/success_rate in a metrics.csv"),
        (lambda run: (run / "metrics.csv").write_bytes(b"rubbish\xff" * 99), "has no eval/success_rate in a metrics"),
        (lambda run: (run / "metrics.csv").write_bytes(b""), "has no eval/success_rate in a metrics.csv"),
        (lambda run: write_metrics(run, []), "has no eval/success_rate in a metrics.csv"),
        (lambda run: write_metrics(run, [0.5, math.nan, 0.5]), "has success rate nan after epoch 2"),
        (lambda run: write_metrics(run, [0.5], first_epoch=5), "has no evaluation of epoch 4"),
    ],
)
def test_a_broken_run_is_refused_with_the_reason(tmp_path, spoil, reason):
    write_run(tmp_path, [0.25, 0.5, 0.75])
    if "epoch 4" in reason:
        write_config(tmp_path, max_epochs=5)
    spoil(tmp_path)
    with pytest.raises(IncompleteRun, match=reason):
        read_run(tmp_path)


def test_a_damaged_middle_of_the_table_is_noticed(tmp_path):
    write_run(tmp_path, [0.25, 0.5, 0.75])
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text().replace("eval/success_rate,0.5", "eval/success_rate,0.5x"))
    with pytest.raises(IncompleteRun, match="has no evaluation of epoch 2"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("env_kwargs", "name"),
    [
        (None, "Point2DLarge-v1"),
        ({"max_episode_steps": 50}, "Point2DLarge-v1"),
        ({"boundary_dist": 4.0}, "Point2DLarge-v1 (boundary_dist=4)"),
        ({"boundary_dist": 4, "arena": "b", "max_episode_steps": 50}, "Point2DLarge-v1 (arena=b, boundary_dist=4)"),
        ({"arena": "b", 1: 2}, "Point2DLarge-v1 (1=2, arena=b)"),
    ],
)
def test_a_task_is_named_by_its_id_and_its_own_arguments(env_kwargs, name):
    assert task_name({"env": "mher_pl/Point2DLarge-v1", "env_kwargs": env_kwargs}) == name


def test_runs_are_found_at_any_depth_and_each_once(tmp_path):
    for folder in ("a/b/c/seed_0", "a/seed_1"):
        write_run(tmp_path / folder, [0.5])
    write_run(tmp_path / "a/seed_1/checkpoints/copy", [0.5])  # a run's own subfolder
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    shutil.copy(tmp_path / "a/seed_1/config.yaml", tmp_path / "broken")
    found = find_runs([tmp_path, tmp_path / "a/seed_1", tmp_path / "a/../a"])
    assert sorted(str(folder.relative_to(tmp_path)) for folder in found) == ["a/b/c/seed_0", "a/seed_1", "broken"]


def test_runs_behind_links_are_found_and_each_once(tmp_path):
    write_run(tmp_path / "elsewhere/seed_0", [0.5])
    write_run(tmp_path / "runs/seed_1", [0.5])
    (tmp_path / "runs/archive").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "runs/last").symlink_to(tmp_path / "runs/seed_1")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "runs")
    found = find_runs([tmp_path / "runs"])
    assert sorted(folder.resolve().name for folder in found) == ["seed_0", "seed_1"]


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"RUN is .*nowhere; allowed"):
        find_runs([tmp_path / "nowhere"])


@pytest.mark.parametrize("max_epochs", [30, -1, None])
def test_a_run_that_ended_by_itself_is_whole_whatever_its_limit_was(tmp_path, max_epochs):
    write_config(tmp_path, max_epochs=max_epochs)
    write_metrics(tmp_path, [0.25, 0.5, 0.75])
    with pytest.raises(IncompleteRun, match="is unfinished: 3 of "):
        read_run(tmp_path)
    write_ended(tmp_path)
    assert [point.success_rate for point in read_run(tmp_path).curve] == [0.25, 0.5, 0.75]
    write_metrics(tmp_path, [0.5], first_epoch=4, start=START + 1000)  # it went on, and was interrupted
    with pytest.raises(IncompleteRun, match="is unfinished: 4 of "):
        read_run(tmp_path)
