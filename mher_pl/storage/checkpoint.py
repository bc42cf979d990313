"""Checkpoint files: plain data, sealed by a checksum, written so that a crash never costs the previous one."""

import mmap
import os
import pickle
import re
import shutil
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, Any

import torch

from mher_pl.errors import UserError
from mher_pl.version import __version__

VERSION = "mher_pl_version"  # the key that tells which program wrote a checkpoint
SEAL = b"mher_pl crc32 %08x"  # at the end of the file: the checksum of all before it
SEAL_BYTES = len(SEAL % 0)
PLAIN = (
    torch.Tensor,
    torch.nn.Parameter,
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
)  # no classes derived of them


def write_checkpoint(checkpoint: dict[str, Any], path: str | Path) -> None:
    """Write the whole file under a temporary name, force it to the disk, and put it in the place of the old one.

    Lightning's own writer stages the file in the system's temporary folder, from where the move to another file system
    is a copy that a kill can cut short.

    Raises:
        UserError: the file cannot be written, or could not be read back; the old one is untouched.
    """
    path = Path(path)
    staged = _staged(path)
    for place, value in _not_plain(checkpoint):
        raise UserError(
            f"the checkpoint {path} was not written, for it could not be read back: {place} is a {_type_name(value)}; "
            "allowed: tensors and plain Python values"
        )
    try:
        path.parent.mkdir(exist_ok=True)  # and not the run's folder, if somebody removed it
        save_sealed(checkpoint | {VERSION: __version__}, staged)
        os.replace(staged, path)
        _flush(path.parent)
    except (OSError, RuntimeError) as error:
        system = error if isinstance(error, OSError) else error.__context__  # torch hides it behind an error of its own
        reason = getattr(system, "strerror", None) or error
        earlier = ", the one before is whole" if path.is_file() else ""
        raise UserError(
            f"the checkpoint {path} could not be written ({reason}){earlier}; allowed: a folder that can be written, "
            "with room for one checkpoint more"
        ) from error
    finally:
        with suppress(OSError):
            staged.unlink(missing_ok=True)


def save_sealed(content: object, path: Path) -> None:
    """Write a file of torch's that ends with its checksum, the comment that a zip file may have, and force it to disk.

    The zip format has a checksum for each tensor, which torch writes and does not look at.
    """
    with path.open("w+b") as file:  # buffered, for a raw file may take a part of what it is given, and torch not notice
        torch.save(content, file)
        file.seek(-2, os.SEEK_END)  # the comment's length, for torch writes none
        size = file.tell() + file.write(SEAL_BYTES.to_bytes(2, "little"))
        file.flush()
        file.write(SEAL % _checksum(file, size))
        file.flush()
        os.fsync(file.fileno())


def link_file(path: str | Path, copy: str | Path) -> None:
    """Give the file `path` a second name `copy`, in one step and, where hard links exist, without writing it again."""
    path, copy = Path(path), Path(copy)
    staged = _staged(copy)
    staged.unlink(missing_ok=True)
    try:
        os.link(path, staged)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, staged)
        _flush(staged)
    os.replace(staged, copy)
    staged.unlink(missing_ok=True)  # renaming onto another name of the same file leaves both names


def read_checkpoint(path: str | Path, setting: str = "ckpt_path") -> dict[str, Any]:
    """Map a checkpoint of mher_pl into memory, restricted to tensors and plain Python values.

    Args:
        path: the file.
        setting: that names it, for messages.

    Raises:
        UserError: there is no such file, it is damaged or was changed, it holds code, or it is not one of mher_pl's or
            one of another version of it.
    """
    if not os.path.isfile(path):
        raise UserError(f"{setting} is {str(path)!r}, which is no file; allowed: a checkpoint, or a run's folder")
    _require_whole(path, setting)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        content = f"refers to {found[1]}" if found else "is no plain data"
        raise UserError(
            f"{setting} is {str(path)!r}, which {content} and was not loaded; allowed: checkpoints of mher_pl, which "
            "hold tensors and plain values only"
        ) from error
    if checkpoint[VERSION] != __version__:
        raise UserError(
            f"{setting} is {str(path)!r}, which mher_pl {checkpoint[VERSION]} wrote; allowed: one of this version, "
            f"{__version__}"
        )
    return checkpoint


def _staged(path: Path) -> Path:
    """Name the file that is to become `path`; always the same, so that what a kill left behind is overwritten."""
    return path.with_name(f".{path.name}.part")


def _flush(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_whole(path: str | Path, setting: str) -> None:
    """Raise `UserError` if a file is not as `save_sealed` wrote it, or cannot be read."""
    try:
        opened = FileIO(path)
    except OSError as error:
        raise UserError(f"{setting} is {str(path)!r} ({error.strerror}); allowed: a file that can be read") from error
    with opened as file:
        size = max(os.fstat(file.fileno()).st_size - SEAL_BYTES, 0)
        file.seek(size)
        seal = file.read()
        if not seal.startswith(SEAL[:-4]):
            found = "which is damaged or no checkpoint of mher_pl"
        elif seal != SEAL % _checksum(file, size):
            found = "which is damaged or was changed after it was written"
        else:
            return
    raise UserError(f"{setting} is {str(path)!r}, {found}; allowed: a checkpoint as mher_pl wrote it")


def _checksum(file: IO[bytes], size: int) -> int:
    """Return the CRC-32 of the first `size` bytes of a file."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content)[:size] as part:
        return zlib.crc32(part)


def _not_plain(value: Any, place: str = "") -> Iterator[tuple[str, object]]:
    """Yield what is neither tensor nor plain value in a nested checkpoint, with its place."""
    if type(value) in (dict, OrderedDict):
        for key, entry in value.items():
            yield from _not_plain(key, f"a key of {place}")
            yield from _not_plain(entry, f"{place}.{key}".lstrip("."))
    elif type(value) in (list, tuple, set):
        for index, entry in enumerate(value):
            yield from _not_plain(entry, f"{place}.{index}")
    elif type(value) not in PLAIN:
        yield place, value


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
