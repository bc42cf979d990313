"""Environments in processes of their own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import resource_tracker
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState, _async_worker

END_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class ProcessEnvs(AsyncVectorEnv):
    """Gymnasium's environments in processes, which signals to their whole group leave alone, and which fail quietly.

    Ctrl-C, a closed terminal and the end of a cluster's job reach every process of a group, but a run that is to save
    first needs its environments until then.
    """

    def __init__(self, env_fns: Sequence[Callable[[], gymnasium.Env]], **kwargs: Any) -> None:
        resource_tracker.ensure_running()  # at its start it lets signals through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)  # all threads of the processes inherit that
        try:
            super().__init__(env_fns, worker=serve, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

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


def serve(*arguments: Any) -> None:
    """Be the process of an environment, with the arguments of Gymnasium's own."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    _async_worker(*arguments)


def _end_with(parent: int) -> None:
    """End this process at a SIGTERM from its parent, which so ends what does not answer, and from nobody else."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(128 + signal.SIGTERM)
