"""Memory that a setting asks for, beside what the machine has."""

import re
from contextlib import suppress
from pathlib import Path

import torch

from mher_pl.errors import UserError, shown

MEMINFO = Path("/proc/meminfo")
GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # of Linux's control groups, version 2


def free_memory() -> int:
    """Return the bytes that a process may take without swapping; no limit where the system does not tell them."""
    try:
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    except OSError:
        return 2**63
    return min(int(lines["MemAvailable"].split()[0]) * 1024, *_left_to_groups())


def _left_to_groups() -> list[int]:
    """Return what the limits of the process's control groups leave, such as a container's or a cluster's job's."""
    left = [2**63]
    for name in re.findall(r"^0::/(.*)$", GROUP.read_text() if GROUP.is_file() else "", re.MULTILINE):
        own = GROUPS / name
        for folder in (own, *own.parents):
            with suppress(OSError, ValueError):  # no such file, or no limit: "max"
                limit, used = (int((folder / f"memory.{kind}").read_text()) for kind in ("max", "current"))
                cached = re.search(r"^inactive_file (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
                left.append(limit - used + (int(cached[1]) if cached else 0))
    return left


def require_memory(setting: str, value: object, needed: int) -> None:
    """Raise `UserError` unless the `needed` bytes, which `value` asks for, are free."""
    free = free_memory()
    if needed > free:
        raise UserError(
            f"{setting} is {shown(value)}, which takes {in_gigabytes(needed)} of memory, and {in_gigabytes(free)} are "
            "free; allowed: what fits into memory"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine, or a GPU, had no memory left: Python, NumPy and torch each say it otherwise."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def in_gigabytes(count: int) -> str:
    """Return bytes as gigabytes, in words."""
    return f"{count / 1e9:,.1f} GB"
