import math
import shutil

import pytest
from fake_runs import START, write_config, write_events, write_run
from torch.utils.tensorboard import SummaryWriter

from mher_pl.compare.runs import IncompleteRun, find_runs, read_run, task_name
from mher_pl.errors import UserError


def rates(run):
    return [point.success_rate for point in run.curve]


def test_a_run_is_read_with_epochs_from_one_and_steps_that_include_the_warmup(tmp_path):
    run = read_run(write_run(tmp_path, [0.25, 0.5, 1.0], algorithm="her", seed=7))
    assert (run.task, run.algorithm, run.seed) == ("Point2DLarge-v1", "her", 7)
    assert run.curve == [(1, 2100, 0.25, 10.0), (2, 2200, 0.5, 20.0), (3, 2300, 1.0, 30.0)]


def test_events_of_the_summary_writer_that_training_uses_are_read(tmp_path):
    write_config(tmp_path, max_epochs=2)
    writer = SummaryWriter(tmp_path)
    writer.add_scalar("eval/success_rate", 0.0, 0)
    for epoch, rate in enumerate([0.5, 0.75]):
        writer.add_scalar("eval/success_rate", rate, 2100 + 100 * epoch)
        writer.add_scalar("epoch", epoch, 2100 + 100 * epoch)
    writer.close()
    assert rates(read_run(tmp_path)) == [0.5, 0.75]


def test_evaluations_without_a_logged_epoch_are_numbered_in_their_order(tmp_path):
    write_config(tmp_path, max_epochs=4, trainer={"check_val_every_n_epoch": 2})
    write_events(tmp_path, [0.25, 0.5], log_epoch=False)
    assert [point.epoch for point in read_run(tmp_path).curve] == [2, 4]


def test_a_resumed_session_replaces_what_was_recorded_after_its_checkpoint(tmp_path):
    write_config(tmp_path, max_epochs=4)
    write_events(tmp_path, [0.125, 0.25, 0.375], start=START)
    write_events(tmp_path, [0.5, 0.625, 0.75], first_epoch=1, start=START + 1000)
    run = read_run(tmp_path)
    assert rates(run) == [0.125, 0.5, 0.625, 0.75]
    # The pause of 1000 s is no training time, nor are the epochs that were thrown away.
    assert [point.wall_s for point in run.curve] == [10.0, 20.0, 30.0, 40.0]


def test_a_session_cut_off_by_another_resume_leaves_no_stale_points(tmp_path):
    write_config(tmp_path, max_epochs=4)
    write_events(tmp_path, [0.125, 0.25, 0.375, 0.5], start=START)
    write_events(tmp_path, [0.625], first_epoch=1, start=START + 1000)
    with pytest.raises(IncompleteRun, match="unfinished: 2 of 4 epochs"):
        read_run(tmp_path)


def test_the_sessions_are_ordered_by_time_not_by_file_name(tmp_path):
    write_config(tmp_path, max_epochs=2)
    write_events(tmp_path, [0.75, 1.0], start=START + 5)
    (first,) = tmp_path.glob("events*")
    first.rename(tmp_path / "events.out.tfevents.0.host.1.0")
    write_events(tmp_path, [0.25, 0.5], start=START)
    assert rates(read_run(tmp_path)) == [0.75, 1.0]


def test_a_record_cut_off_by_a_kill_costs_only_itself(tmp_path):
    write_run(tmp_path, [0.25, 0.5])
    write_events(tmp_path, [0.5, 0.75], first_epoch=2, start=START + 1000)
    write_config(tmp_path, max_epochs=4)
    assert rates(read_run(tmp_path)) == [0.25, 0.5, 0.5, 0.75]
    second = sorted(tmp_path.glob("events*"))[1]
    second.write_bytes(second.read_bytes()[:-70])
    with pytest.raises(IncompleteRun, match="unfinished: 3 of 4 epochs"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda run: (run / "config.yaml").unlink(), "has no config.yaml"),
        (lambda run: (run / "config.yaml").write_text("a: [1"), "has an unreadable config.yaml"),
        (lambda run: (run / "config.yaml").write_text("just text"), "has no algorithm in its config.yaml"),
        (lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe\xfa"), "has an unreadable config.yaml"),
        (lambda run: write_config(run, seed="seven"), "has seed_everything 'seven'"),
        (lambda run: write_config(run, max_epochs=-1), "has no end"),
        (lambda run: write_config(run, max_epochs=30), "is unfinished: 3 of 30 epochs"),
        (lambda run: [file.unlink() for file in run.glob("events*")], "has no readable TensorBoard events"),
        (
            lambda run: [file.write_bytes(b"rubbish" * 99) for file in run.glob("events*")],
            "has no readable TensorBoard",
        ),
        (lambda run: [file.write_bytes(b"") for file in run.glob("events*")], "has no readable TensorBoard events"),
        (lambda run: write_events(run, [], start=START), "has no eval/success_rate"),
        (lambda run: write_events(run, [0.5, math.nan, 0.5], start=START), "has success rate nan after epoch 2"),
        (lambda run: write_events(run, [0.5], first_epoch=4, start=START + 9), "has no evaluation of epoch 4"),
    ],
)
def test_a_broken_run_is_refused_with_the_reason(tmp_path, spoil, reason):
    write_run(tmp_path, [0.25, 0.5, 0.75])
    if "epoch 4" in reason:
        write_config(tmp_path, max_epochs=5)
    spoil(tmp_path)
    with pytest.raises(IncompleteRun, match=reason):
        read_run(tmp_path)


def test_a_damaged_middle_of_the_events_is_noticed(tmp_path):
    write_run(tmp_path, [0.25, 0.5, 0.75])
    (events,) = tmp_path.glob("events*")
    content = bytearray(events.read_bytes())
    content[len(content) // 2] ^= 0xFF
    events.write_bytes(content)
    with pytest.raises(IncompleteRun, match="unfinished"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("env_kwargs", "name"),
    [
        (None, "Point2DLarge-v1"),
        ({"max_episode_steps": 50}, "Point2DLarge-v1"),
        ({"boundary_dist": 4.0}, "Point2DLarge-v1 (boundary_dist=4)"),
        ({"boundary_dist": 4, "arena": "b", "max_episode_steps": 50}, "Point2DLarge-v1 (arena=b, boundary_dist=4)"),
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


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"RUN is .*nowhere; allowed"):
        find_runs([tmp_path / "nowhere"])
