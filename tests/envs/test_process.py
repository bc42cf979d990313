"""Environments in processes: how their errors and their deaths are told."""

import pickle
import queue
import threading

import numpy as np
import pytest

import mher_pl
from mher_pl.envs.process import Errors


class Held(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


class Coded(Exception):
    """Can be pickled, and not be made again from that."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("a b"), ValueError("a b")),
        (Held(), RuntimeError("Held: it holds a lock")),
        (Coded(3, "no goal"), RuntimeError("Coded: no goal")),
    ],
)
def test_an_error_that_cannot_go_to_another_process_goes_as_its_text(error, told):
    taken = queue.Queue()
    Errors(taken).put((1, type(error), error, "the traceback"))
    index, kind, sent, trace = pickle.loads(pickle.dumps(taken.get_nowait()))
    assert (index, kind, type(sent), str(sent), trace) == (1, type(told), type(told), str(told), "the traceback")


def test_a_process_that_was_killed_is_told_with_the_signal_and_the_others_are_ended():
    envs = mher_pl.make_vec("goal_tasks:Plain-v0", num_envs=2, processes=True)
    envs.reset(seed=[3, 4])
    envs.processes[1].kill()
    envs.processes[1].join()
    with pytest.raises(RuntimeError, match="its process ended, killed by SIGKILL"):
        envs.step(np.zeros((2, 2), dtype=np.float32))
    assert not any(process.is_alive() for process in envs.processes)
    envs.close()
