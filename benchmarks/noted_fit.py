"""`python -m mher_pl` that notes in a file when it first got to some points, and the most memory it had.

python benchmarks/noted_fit.py NOTES.json fit --config configs/fetch.yaml
"""

import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from mher_pl.__main__ import main
from mher_pl.envs.episodes import WholeEpisodes
from mher_pl.mher import MHER


def note_first_call(notes: dict[str, float], point: str, owner: type, name: str) -> None:
    """Note the time at which a method is first called, and put the method back."""
    method = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        notes[point] = time.time()
        setattr(owner, name, method)
        return method(*args, **kwargs)

    setattr(owner, name, call)


def peak_mb() -> float:
    """Return the most resident memory that this process had, in MiB."""
    if sys.platform == "linux":  # where ru_maxrss begins with the memory of the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    path, *args = sys.argv[1:]
    notes: dict[str, float] = {}
    note_first_call(notes, "first_step", WholeEpisodes, "step")
    note_first_call(notes, "first_training_step", MHER, "training_step")
    code = main(args)
    Path(path).write_text(json.dumps(notes | {"peak_mb": peak_mb()}))
    sys.exit(code)
