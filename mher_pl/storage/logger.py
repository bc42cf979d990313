"""TensorBoard's files of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from tensorboard.compat.proto.summary_pb2 import Summary


class RunLogger(TensorBoardLogger):
    """Writes into the run's own folder, and the metrics of a call as one event.

    The base class writes an event for each metric. TensorBoard's thread then holds up training for longer than all else
    in an epoch's log takes.

    Args:
        folder: the run's.
        purge_step: what an earlier start of the run logged from this step on is hidden in TensorBoard.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        super().__init__(folder, "", "", default_hp_metric=False, purge_step=purge_step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float | Mapping[str, float]], step: int | None = None) -> None:
        """Log scalars against `step`; groups of them, each a dictionary, are left to the base class.

        Raises:
            ValueError: a metric is no scalar.
        """
        groups = {tag: value for tag, value in metrics.items() if isinstance(value, Mapping)}
        if groups:
            super().log_metrics(groups, step)
        values = [
            Summary.Value(tag=tag, simple_value=_number(tag, value))
            for tag, value in metrics.items()
            if tag not in groups
        ]
        self.experiment._get_file_writer().add_summary(Summary(value=values), step)


def _number(tag: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError is that of a tensor of several elements
        raise ValueError(f"the metric {tag} is {value!r}; allowed: a number, or a tensor of one element") from error
