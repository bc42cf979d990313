import json
import os
from pathlib import Path

from mher_pl.parallel.board import FAILED, FILE, FINISHED, RUNNING, SeedBoard


def boards(root: Path, *runs: str, launch: str = "a", first: int = 0, reused: bool = True) -> list[SeedBoard]:
    """The boards of processes that train the given runs, in the order of their seeds."""
    return [SeedBoard(root / run, first, seeds=len(runs), launch=launch, reused=reused) for run in runs]


def test_the_board_shows_what_a_seed_told(tmp_path):
    one, other = boards(tmp_path, "seed_3", "seed_4", first=3)
    assert one.read(1).rates == {}
    other.start(epoch=0)
    other.report(0, 300, 0.5)
    assert (one.read(1).rates, one.read(1).state) == ({0: (300, 0.5)}, RUNNING)
    other.end(FAILED, "why")
    assert (one.read(1).state, one.read(1).reason) == (FAILED, "why")
    assert list(tmp_path.rglob("*.*")) == [tmp_path / "seed_4" / FILE]


def test_starts_beside_each_other_hear_their_own_seeds(tmp_path):
    mine, my_second = boards(tmp_path, "seed_0", "seed_1-2")
    theirs, their_second = boards(tmp_path, "seed_0-2", "seed_1-3", launch="b")
    for number, board in enumerate((mine, my_second, theirs, their_second)):
        board.start(epoch=0)
        board.report(0, 300, number / 10)
    assert [mine.read(rank).rates for rank in (0, 1)] == [{0: (300, 0.0)}, {0: (300, 0.1)}]
    assert [theirs.read(rank).rates for rank in (0, 1)] == [{0: (300, 0.2)}, {0: (300, 0.3)}]


def test_a_seed_that_ended_before_this_process_began_is_heard_where_no_other_launch_has_the_name(tmp_path):
    _, early = boards(tmp_path, "seed_0", "seed_1")
    early.start(epoch=None)
    early.end(FINISHED)
    states = [boards(tmp_path, "seed_0", "seed_1", reused=reused)[0].read(1).state for reused in (False, True)]
    assert states == [FINISHED, RUNNING]


def test_the_board_takes_nothing_from_an_earlier_launch(tmp_path):
    (earlier,), (board,) = (boards(tmp_path, "seed_0", launch=launch) for launch in "ab")
    earlier.start(epoch=0)
    for epoch in range(3):
        earlier.report(epoch, epoch, 0.5)
    earlier.end(FINISHED)
    assert (board.read(0).rates, board.read(0).state) == ({}, RUNNING)
    board.start(epoch=2)
    assert (board.read(0).rates.keys(), board.read(0).state) == ({0, 1}, RUNNING)


def test_a_start_that_is_refused_keeps_what_was_told_before(tmp_path):
    (earlier,), (refused,), (board,) = (boards(tmp_path, "seed_0", launch=launch) for launch in "abc")
    earlier.start(epoch=0)
    for epoch in range(3):
        earlier.report(epoch, epoch, 0.5)
    refused.start(epoch=None)
    refused.end(FAILED, "why")
    board.start(epoch=3)
    assert (board.read(0).rates.keys(), board.read(0).state) == ({0, 1, 2}, RUNNING)


def test_the_board_takes_nothing_from_an_earlier_launch_of_the_same_name(tmp_path):
    _, earlier = boards(tmp_path, "seed_0", "seed_1")
    earlier.start(epoch=0)
    earlier.end(FAILED, "in the earlier launch")
    board, _ = boards(tmp_path, "seed_0", "seed_1")
    board.start(epoch=0)
    assert board.read(1).state == RUNNING
    earlier.start(epoch=0)
    earlier.report(0, 300, 0.5)
    assert board.read(1).rates == {0: (300, 0.5)}


def test_a_seed_that_has_nothing_to_tell_still_gives_a_sign_of_life(tmp_path):
    one, other = boards(tmp_path, "seed_0", "seed_1")
    other.start(epoch=0)
    before = one.read(1).stamp
    other.live()
    assert one.read(1).stamp != before


def test_a_clock_that_jumps_back_silences_no_seed(tmp_path):
    one, other = boards(tmp_path, "seed_0", "seed_1")
    one.start(epoch=0)
    other.start(epoch=0)
    other.end(FINISHED)
    os.utime(other.file, (1.0, 1.0))
    assert one.read(1).state == FINISHED


def test_a_line_that_is_still_being_written_is_left_out(tmp_path):
    (board,) = boards(tmp_path, "seed_0")
    board.start(epoch=0)
    board.report(0, 100, 0.5)
    with board.file.open("a") as file:
        file.write(json.dumps({"epoch": 1, "env_steps": 200, "success_rate": 0.5})[:-5])
    assert board.read(0).rates == {0: (100, 0.5)}
