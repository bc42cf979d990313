"""The signals that end a program: Ctrl-C, a cluster's and a closing terminal's."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mher_pl.errors import Interrupted


def end_signals() -> list[signal.Signals]:
    """Return the signals that end a run: Ctrl-C, SIGTERM, and SIGHUP unless the run is to outlive its terminal."""
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if nohup else [signal.SIGHUP])]


@contextmanager
def ended_by_signals(once: bool = False) -> Iterator[None]:
    """Raise `Interrupted` on Ctrl-C, SIGTERM and SIGHUP within the block, at each of them, or only `once`.

    Signals are the main thread's: in another one nothing is changed.
    """
    signums = end_signals()

    def end(signum: int, frame: FrameType | None) -> None:
        if once:
            for number in signums:
                signal.signal(number, signal.SIG_IGN)
        raise Interrupted(signum, f"interrupted by {signal.Signals(signum).name}")

    with signals_given_back():
        if threading.current_thread() is threading.main_thread():
            for signum in signums:
                signal.signal(signum, end)
        yield


@contextmanager
def signals_given_back() -> Iterator[None]:
    """Leave the handlers of signals as they were, however the block ends: after an error no callback is told."""
    earlier = {}
    if threading.current_thread() is threading.main_thread():
        earlier = {signum: signal.getsignal(signum) for signum in (*end_signals(), signal.SIGUSR1)}
    try:
        yield
    finally:
        for signum, handler in earlier.items():
            if handler is not None:  # one that was not set from Python
                signal.signal(signum, handler)
