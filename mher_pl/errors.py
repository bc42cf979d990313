"""Errors that end a run with one line instead of a traceback."""

import argparse
import os
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from typing import NoReturn

LARGEST = 1e9  # of a setting: what is beyond squares to infinity in 32-bit numbers before long
LARGEST_INT = 2**31 - 1
LONGEST_MESSAGE = 300
LONGEST_VALUE = 60  # of a setting in a message
LIBRARIES = tuple(folder + os.sep for folder in (os.path.dirname(__file__), sysconfig.get_path("stdlib")))
INSTALLED = "site-packages", "dist-packages"  # folders of others' code


class UserError(Exception):
    """A user's mistake, in one line that names the setting, its value and what is allowed."""


class NonFiniteError(RuntimeError):
    """NaN or infinity in observations, actions or losses, with the place where it was seen."""


class EnvironmentFailed(RuntimeError):
    """The environment raised an error, which is the cause of this one.

    Args:
        place: where, in words.
        error: what it raised.
    """

    def __init__(self, place: str, error: Exception) -> None:
        super().__init__(f"the environment failed in {place} ({reason_of(error)})")
        self.advice = ""  # how to go on

    def __str__(self) -> str:
        """Return what failed and how to go on."""
        return super().__str__() + self.advice


class SeedsFailed(RuntimeError):
    """Seeds that failed while others, trained beside them, finished."""


class Interrupted(SystemExit):
    """A run that a signal ended in good order; the exit code is 128 + the signal's number, as shells have it."""

    def __init__(self, signum: int, message: str) -> None:
        self.exit_code, self.message = 128 + signum, message
        super().__init__(self.exit_code)


class OneLineParser(argparse.ArgumentParser):
    """A parser of a command's arguments that says a usage error in one line, without the usage, and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read what is allowed."""
        self.exit(2, f"error: {' '.join(message.split())}; allowed: see {self.prog} --help\n")


def reason_of(error: BaseException) -> str:
    """Return what an error of a user's code says, and in which line of a file it was, no library's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith(LIBRARIES) and not set(frame.filename.split(os.sep)) & set(INSTALLED)
    ]
    where = f", {os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:150]}{where}"


def one_line(message: object) -> str:
    """Return a message as one line of at most 300 characters, what is beyond cut from its middle."""
    text = " ".join(str(message).split())
    return _cut(text, LONGEST_MESSAGE - len("error: "))


def shown(value: object, bare: bool = False) -> str:
    """Return a setting's value as messages show it, if `bare` without quotation marks; a long one is cut."""
    return _cut("null" if value is None else str(value) if bare else repr(value), LONGEST_VALUE)


def did_you_mean(names: Sequence[str]) -> str:
    """Return the end of a message that suggests `names`, nothing where there are none."""
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _cut(text: str, length: int) -> str:
    half = (length - 5) // 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"


def require(ok: bool, setting: str, value: object, allowed: str) -> None:
    """Raise `UserError` naming `setting`, `value` and what is `allowed` unless `ok`."""
    if not ok:
        raise UserError(f"{setting} is {shown(value)}; allowed: {allowed}")


def require_int(setting: str, value: object, minimum: int, maximum: int = LARGEST_INT) -> None:
    """Raise `UserError` unless `value` is an integer from `minimum` to `maximum`."""
    upwards = f"an integer of at least {minimum}"
    too_large = isinstance(value, int) and value > maximum
    allowed = f"{upwards}, at most {maximum}" if too_large else upwards
    ok = isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum
    require(ok, setting, value, allowed)


def require_sizes(setting: str, sizes: Iterable[object]) -> None:
    """Raise `UserError` unless all `sizes`, of hidden layers, are integers of at least 1."""
    for size in sizes:
        require_int(setting, size, 1)


def require_probability(setting: str, value: float) -> None:
    """Raise `UserError` unless `value` lies in [0, 1]."""
    require(0.0 <= value <= 1.0, setting, value, "a probability from 0 to 1")


def require_at_least(setting: str, value: float, minimum: float) -> None:
    """Raise `UserError` unless `value` is a number of at least `minimum`, and not huge."""
    require(minimum <= value <= LARGEST, setting, value, f"a number of at least {minimum:g}, at most {LARGEST:g}")


def require_positive(setting: str, value: float) -> None:
    """Raise `UserError` unless `value` is a number above 0, and not huge."""
    require(0.0 < value <= LARGEST, setting, value, f"a number above 0, at most {LARGEST:g}")


def require_multiple(setting: str, value: int, of: int) -> None:
    """Raise `UserError` unless `value` is a multiple of `data.num_envs`, which is `of`."""
    require(value % of == 0, setting, value, f"a multiple of data.num_envs, {of}")
