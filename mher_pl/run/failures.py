"""Failures of the machine, told in one line: disks, memory and processes."""

import errno
import threading
from pathlib import Path
from typing import TypeGuard

from mher_pl.errors import UserError
from mher_pl.memory import free_memory, in_gigabytes, is_out_of_memory
from mher_pl.parallel.workers import LOST, is_lost_worker
from mher_pl.storage.folder import LAST

DISK = {  # what the system says of disks, beside what names a file
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOENT,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
}


def of_machine(error: Exception, folder: Path | None) -> UserError | None:
    """Return what to tell of a disk that failed, memory that ran out or a worker that is gone.

    Args:
        error: what was raised.
        folder: of the run, where this process writes it.
    """
    if is_of_disk(error):
        place = error.filename or folder or "a file"
        told = f"{place}: {error.strerror or error}; allowed: a disk that has room and can be written"
    elif is_out_of_memory(error):
        told = f"out of memory, {in_gigabytes(free_memory())} are free; allowed: smaller batches, networks or replay"
    elif is_lost_worker(error):
        told = LOST
    else:
        return None
    saved = folder is not None and (folder / LAST).is_file()
    return UserError(
        told + ("; then --ckpt_path last goes on from the last checkpoint, which is whole" if saved else "")
    )


def is_of_disk(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether a disk failed, and not a network, whose errors are of the same type."""
    return isinstance(error, OSError) and (error.errno in DISK or None not in (error.errno, error.filename))


def of_networks(error: Exception) -> UserError | None:
    """Return what to tell of networks for which memory ran out."""
    if not is_out_of_memory(error):
        return None
    return UserError(
        f"model takes more memory than is free, {in_gigabytes(free_memory())}; allowed: smaller hidden_sizes, fewer "
        "members"
    )


def of_thread(failure: threading.ExceptHookArgs) -> None:
    """Leave a failure to write to the caller: the thread that writes events raises it there again, at the next call."""
    if not is_of_disk(failure.exc_value):
        threading.__excepthook__(failure)
