import json
import os

from mher_pl.parallel.board import FAILED, FINISHED, RUNNING, SeedBoard


def test_the_board_shows_what_a_seed_told(tmp_path):
    board = SeedBoard(tmp_path / "seeds", first=3, seeds=2, launch="a")
    assert board.read(1).rates == {}
    board.start(1, epoch=0)
    board.report(1, 0, 300, 0.5)
    assert (board.read(1).rates, board.read(1).state) == ({0: (300, 0.5)}, RUNNING)
    board.end(1, FAILED, "why")
    assert (board.read(1).state, board.read(1).reason) == (FAILED, "why")
    assert [path.name for path in (tmp_path / "seeds").iterdir()] == ["seed_4.jsonl"]


def test_the_board_takes_nothing_from_an_earlier_launch(tmp_path):
    earlier, board = (SeedBoard(tmp_path, first=0, seeds=1, launch=launch) for launch in "ab")
    earlier.start(0, epoch=0)
    for epoch in range(3):
        earlier.report(0, epoch, epoch, 0.5)
    earlier.end(0, FINISHED)
    assert (board.read(0).rates, board.read(0).state) == ({}, RUNNING)
    board.start(0, epoch=2)
    assert (board.read(0).rates.keys(), board.read(0).state) == ({0, 1}, RUNNING)


def test_the_board_takes_nothing_from_an_earlier_launch_of_the_same_name(tmp_path):
    earlier, board = (SeedBoard(tmp_path, first=0, seeds=2, launch="none") for _ in range(2))
    earlier.start(1, epoch=0)
    earlier.end(1, FAILED, "in the earlier launch")
    board.start(0, epoch=0)
    assert board.read(1).state == RUNNING
    earlier.start(1, epoch=0)
    earlier.report(1, 0, 300, 0.5)
    assert board.read(1).rates == {0: (300, 0.5)}


def test_a_clock_that_jumps_back_silences_no_seed(tmp_path):
    one, other = (SeedBoard(tmp_path, first=0, seeds=2, launch="a") for _ in range(2))
    one.start(0, epoch=0)
    other.start(1, epoch=0)
    other.end(1, FINISHED)
    os.utime(other.path(1), (1.0, 1.0))
    assert one.read(1).state == FINISHED


def test_a_line_that_is_still_being_written_is_left_out(tmp_path):
    board = SeedBoard(tmp_path, first=0, seeds=1, launch="a")
    board.start(0, epoch=0)
    board.report(0, 0, 100, 0.5)
    with board.path(0).open("a") as file:
        file.write(json.dumps({"epoch": 1, "env_steps": 200, "success_rate": 0.5})[:-5])
    assert board.read(0).rates == {0: (100, 0.5)}
