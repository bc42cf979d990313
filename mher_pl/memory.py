"""Memory that a setting asks for, beside what the machine has."""

from pathlib import Path

import torch

from mher_pl.errors import UserError, shown

MEMINFO = Path("/proc/meminfo")


def free_memory() -> int:
    """Return the bytes that a process may take without swapping; no limit where the system does not tell them."""
    try:
        lines = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
    except OSError:
        return 2**63
    return int(lines["MemAvailable"].split()[0]) * 1024


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
