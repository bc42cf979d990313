"""A space of settings to search: which there are, and between which values."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mher_pl.errors import UserError
from mher_pl.storage.settings import as_text

if TYPE_CHECKING:
    from optuna import Trial


@dataclass(frozen=True)
class Range:
    """Numbers between two: integers where both are, on a logarithmic scale if asked."""

    low: int | float
    high: int | float
    log: bool = False

    def suggest(self, trial: "Trial", key: str) -> int | float:
        """Return a trial's value."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def examples(self) -> list[Any]:
        """Return the values that are checked before the first trial."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Choice:
    """One of a list's values."""

    values: list[Any]

    def suggest(self, trial: "Trial", key: str) -> str:
        """Return a trial's value, as the command line spells it: Optuna stores no lists."""
        return trial.suggest_categorical(key, [as_text(value) for value in self.values])

    def examples(self) -> list[Any]:
        """Return the values that are checked before the first trial."""
        return self.values


@dataclass(frozen=True)
class Search:
    """How many trials to run, and of what."""

    space: dict[str, Range | Choice]
    trials: int
    prune_from: int | None  # the epoch from which trials are given up, if any are

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """Return a trial's values, the same again for a trial that goes on."""
        return {key: setting.suggest(trial, key) for key, setting in self.space.items()}

    def examples(self) -> list[dict[str, Any]]:
        """Return points with every value that is checked before the first trial, of one setting after the other."""
        first = {key: setting.examples()[0] for key, setting in self.space.items()}
        return [first | {key: value} for key, setting in self.space.items() for value in setting.examples()]


def read_setting(key: str, value: Any) -> Range | Choice:
    """Read what the search may choose from for a setting, or raise `UserError`."""
    if isinstance(value, list) and len({as_text(entry) for entry in value}) == len(value) > 1:
        return Choice(value)
    if isinstance(value, dict) and {"low", "high"} <= set(value) <= {"low", "high", "log"}:
        low, high, log = _number(value["low"]), _number(value["high"]), value.get("log", False)
        numbers = all(type(number) in (int, float) and math.isfinite(number) for number in (low, high))
        if numbers and low < high and isinstance(log, bool) and (low > 0 or not log):
            return Range(low, high, log)
    raise UserError(
        f"search has {key}: {value!r}; allowed: a list of different values, or low and high, as in {{low: 0.0, high: "
        "1.0}, where log: true, of numbers above 0, has them drawn on a logarithmic scale"
    )


def _number(value: Any) -> Any:
    """Return a text such as 1e-4, which YAML 1.1 takes for no number, as the number that `fit` reads of it."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
