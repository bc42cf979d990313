import threading
from pathlib import Path

import pytest

from mher_pl.errors import UserError
from mher_pl.storage.folder import LAST, Place, changes, checkpoint_file, sole_writer


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path, "mher_pl/Point2DLarge-v1", "her", 1)


def make_run(folder: Path, checkpoint: bool = True, seed: int = 1) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text(
        f"algorithm: her\nseed_everything: {seed}\ndata:\n  env: mher_pl/Point2DLarge-v1\n"
    )
    if checkpoint:
        (folder / LAST).touch()
    return folder


def test_a_new_run_gets_a_folder_of_its_own(tmp_path, place):
    names = [place.claim().relative_to(tmp_path).as_posix() for _ in range(3)]
    parent = "Point2DLarge-v1/her"
    assert names == [f"{parent}/seed_1", f"{parent}/seed_1-2", f"{parent}/seed_1-3"]


def test_a_run_has_one_writer(place):
    folder = place.claim()
    with sole_writer(folder), pytest.raises(UserError, match=r"which another process trains"), sole_writer(folder):
        pass
    with sole_writer(folder):
        pass


def test_changed_settings_are_told(place):
    folder = make_run(place.claim())
    settings = {"algorithm": "her", "seed_everything": 2, "data.env": "mher_pl/Point2DLarge-v1", "data.new": 3}
    assert changes(folder, settings) == ["seed_everything is 2, was 1"]


def test_a_deleted_run_leaves_a_gap_and_other_seeds_do_not_count(place):
    (place.parent / "seed_1-4").mkdir(parents=True)
    (place.parent / "seed_10-7").mkdir()
    assert place.claim().name == "seed_1-5"


def test_runs_that_begin_at_the_same_time_do_not_share_a_folder(place):
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(place.claim())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(folders)) == 20


def test_the_latest_run_is_the_newest_not_the_newest_with_a_checkpoint(place):
    for number in range(1, 12):
        make_run(place.folder(number))
    assert place.latest() == (place.folder(11), place.folder(11) / LAST)
    make_run(place.folder(12), checkpoint=False)
    assert place.latest() == (place.folder(12), None)


def test_no_run_at_all_is_an_error(place):
    with pytest.raises(UserError, match=r"there is no run in .*seed_1"):
        place.latest()


def test_a_checkpoint_belongs_to_its_run_only_if_it_is_the_last_of_the_same_task_algorithm_and_seed(tmp_path, place):
    folder = make_run(tmp_path / "moved")
    best = folder / "checkpoints" / "best-epoch=0.ckpt"
    best.touch()
    other = make_run(tmp_path / "other", seed=2)
    assert place.owner(folder / LAST) == folder
    assert place.owner(best) is None
    assert place.owner(other / LAST) is None
    assert place.owner(tmp_path / "last.ckpt") is None


def test_a_folder_stands_for_its_last_checkpoint(tmp_path):
    folder = make_run(tmp_path / "run")
    assert checkpoint_file(folder) == checkpoint_file(folder / LAST) == folder / LAST
    with pytest.raises(UserError, match="which does not exist"):
        checkpoint_file(tmp_path)
