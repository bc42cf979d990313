"""Environments in processes of their own."""

from __future__ import annotations

import atexit
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState, _async_worker

END_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
DEATH_S = 5.0  # within which a process is gone whose pipe is


class ProcessEnvs(AsyncVectorEnv):
    """Gymnasium's environments in processes, which signals to their whole group leave alone and which say why they end.

    Ctrl-C, a closed terminal and the end of a cluster's job reach every process of a group, but a run that is to save
    first needs its environments until then.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], **kwargs: Any) -> None:
        resource_tracker.ensure_running()  # at its start it lets signals through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)  # the processes inherit that, up to `serve`
        try:
            super().__init__(env_fns, worker=serve, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        atexit.register(kill, self.processes)  # before Python's own SIGTERM, behind which it waits for them

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        """Reset all; see Gymnasium's."""
        with self._death_told():
            return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        """Step all; see Gymnasium's."""
        with self._death_told():
            return super().step(actions)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the processes, if `terminate` without asking them."""
        if terminate:
            kill(self.processes)
        super().close_extras(timeout, terminate)

    @contextmanager
    def _death_told(self) -> Iterator[None]:
        """Raise `RuntimeError` where a process is gone, as when memory ran out, with how it ended."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            gone = wait([process.sentinel for process in self.processes], DEATH_S)
            codes = [process.exitcode or 0 for process in self.processes if process.sentinel in gone]
            how = [f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}" for code in codes]
            self._state = AsyncState.DEFAULT
            self.close(terminate=True)
            raise RuntimeError(f"its process ended, {', '.join(how) or 'nobody knows how'}") from error

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise the environment's own error, its traceback as a note; Gymnasium prints that, and raises a copy."""
        failed = [success for success in successes if not success]
        for _ in failed:
            index, _, error, trace = self.error_queue.get()
            self.parent_pipes[index].close()
            self.parent_pipes[index] = None  # type: ignore[call-overload]  # as Gymnasium does
        if failed:
            self._state = AsyncState.DEFAULT
            error.add_note(trace)
            raise error


def kill(processes: Sequence[Any]) -> None:
    """End processes that leave every other signal to their parent."""
    for process in processes:
        process.kill()


def serve(*arguments: Any) -> None:
    """Be the process of an environment, with the arguments of Gymnasium's own, for as long as its parent lives."""
    parent = os.getppid()

    def leave_to_parent(*_: Any) -> None:  # a function, for what an environment starts would inherit `SIG_IGN`
        if os.getppid() != parent:
            os._exit(1)

    for number in END_SIGNALS:
        signal.signal(number, leave_to_parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
    *before, errors, autoreset_mode, semaphore = arguments
    _async_worker(*before, Errors(errors), autoreset_mode, semaphore)  # type: ignore[call-arg, arg-type]


class Errors:
    """A queue of Gymnasium's for errors, on which one that cannot go to another process goes as its text."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def put(self, item: tuple[int, type, BaseException, str]) -> None:
        """Send the number of an environment, the class of its error, the error and its traceback."""
        index, _, error, trace = item
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        self.queue.put((index, type(error), error, trace))
