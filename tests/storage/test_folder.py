import threading
from pathlib import Path

import pytest

from mher_pl.errors import UserError
from mher_pl.storage.folder import LAST, RunFolders, changed_settings, checkpoint_file, sole_writer


@pytest.fixture
def folders(tmp_path) -> RunFolders:
    return RunFolders(tmp_path, "mher_pl/Point2DLarge-v1", "her", 1)


def make_run(folder: Path, checkpoint: bool = True, seed: int = 1) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(
        f"algorithm: her\nseed_everything: {seed}\ndata:\n  env: mher_pl/Point2DLarge-v1\n"
    )
    if checkpoint:
        (folder / LAST).touch()
    return folder


def test_a_new_run_gets_a_folder_of_its_own(tmp_path, folders):
    names = [folders.claim().relative_to(tmp_path).as_posix() for _ in range(3)]
    parent = "Point2DLarge-v1/her"
    assert names == [f"{parent}/seed_1", f"{parent}/seed_1-2", f"{parent}/seed_1-3"]


@pytest.mark.parametrize("env", ["Cart-v0", "own/Cart-v0", "my_task:Cart-v0", "my_task:own/Cart-v0"])
def test_a_folder_is_named_by_the_task_alone(tmp_path, env):
    assert RunFolders(tmp_path, env, "her", 1).folder(1).relative_to(tmp_path).as_posix() == "Cart-v0/her/seed_1"


def test_a_run_has_one_writer(folders):
    folder = folders.claim()
    with sole_writer(folder), pytest.raises(UserError, match=r"which another process trains"), sole_writer(folder):
        pass
    with sole_writer(folder):
        pass


def test_changed_settings_are_named(folders):
    folder = make_run(folders.claim())
    settings = {"algorithm": "her", "seed_everything": 2, "data.env": "mher_pl/Point2DLarge-v1", "data.new": 3}
    assert changed_settings(folder, settings) == {"seed_everything": (2, 1)}


def test_a_deleted_run_leaves_a_gap_and_other_seeds_do_not_count(folders):
    (folders.parent / "seed_1-4").mkdir(parents=True)
    (folders.parent / "seed_10-7").mkdir()
    assert folders.claim().name == "seed_1-5"


def test_runs_that_begin_at_the_same_time_do_not_share_a_folder(folders):
    claimed: list[Path] = []
    threads = [threading.Thread(target=lambda: claimed.append(folders.claim())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(claimed)) == 20


@pytest.mark.parametrize("link", ["", "Point2DLarge-v1", "Point2DLarge-v1/her"])
def test_a_link_to_nowhere_in_place_of_a_folder_is_refused(tmp_path, monkeypatch, link):
    folder, tried = RunFolders.folder, []

    def count(self, number: int) -> Path:
        tried.append(number)
        assert len(tried) < 10, "it tries for ever"
        return folder(self, number)

    monkeypatch.setattr(RunFolders, "folder", count)
    path = tmp_path / "runs" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(
        UserError, match=r"trainer.default_root_dir is '.*runs' \(File exists\); allowed: a folder that"
    ):
        RunFolders(tmp_path / "runs", "mher_pl/Point2DLarge-v1", "her", 1).claim()


def test_a_config_that_is_no_text_is_as_none(folders):
    folder = make_run(folders.claim())
    (folder / "config.yaml").write_bytes("algorithm: hér".encode("latin-1"))
    assert folders.owner(folder / LAST) is None
    assert changed_settings(folder, {"algorithm": "her"}) == {}


def test_the_latest_run_is_the_newest_and_one_without_a_checkpoint_hides_none_before_it(folders):
    make_run(folders.folder(1), checkpoint=False)
    assert folders.latest() == (folders.folder(1), None)
    for number in range(2, 12):
        make_run(folders.folder(number))
    assert folders.latest() == (folders.folder(11), folders.folder(11) / LAST)
    make_run(folders.folder(12), checkpoint=False)
    with pytest.raises(UserError, match=r"seed_1-12 ended before its first checkpoint; allowed: .*/seed_1-11, or last"):
        folders.latest()


def test_a_folder_in_which_nothing_began_hides_no_run(folders):
    make_run(folders.folder(1))
    folders.folder(2).mkdir()
    assert folders.latest() == (folders.folder(1), folders.folder(1) / LAST)


def test_without_any_run_there_is_no_latest(folders):
    assert folders.latest() == (None, None)


def test_a_checkpoint_belongs_to_its_run_only_if_it_is_the_last_of_the_same_task_algorithm_and_seed(tmp_path, folders):
    folder = make_run(tmp_path / "moved")
    best = folder / "checkpoints" / "best.ckpt"
    best.touch()
    other = make_run(tmp_path / "other", seed=2)
    assert folders.owner(folder / LAST) == folder
    assert folders.owner(best) is None
    assert folders.owner(other / LAST) is None
    assert folders.owner(tmp_path / "last.ckpt") is None


def test_a_folder_stands_for_its_last_checkpoint(tmp_path):
    folder = make_run(tmp_path / "run")
    assert checkpoint_file(folder) == checkpoint_file(folder / LAST) == folder / LAST
    with pytest.raises(
        UserError, match=r"a folder without checkpoints/last.ckpt; .*, RUN/best or RUN/last, such as .*/run"
    ):
        checkpoint_file(tmp_path)
    with pytest.raises(UserError, match=r"which does not exist; allowed: .*, RUN/best or RUN/last$"):
        checkpoint_file(tmp_path / "nowhere")


def test_last_and_best_are_names_of_a_runs_checkpoints(tmp_path):
    folder = make_run(tmp_path / "run")
    assert checkpoint_file(folder / "last") == folder / LAST
    with pytest.raises(UserError, match="run/best', which does not exist"):
        checkpoint_file(folder / "best")
    best = folder / "checkpoints" / "best.ckpt"
    best.touch()
    assert checkpoint_file(folder / "best") == best
