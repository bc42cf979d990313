"""A run's settings as its loggers show them beside the success rate that they led to."""

from collections.abc import Iterable, Mapping
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from mher_pl.storage.settings import flatten

SECTIONS = "seed_everything", "algorithm", "data", "model", "warmup"  # of a config, which decide what a run learns


def log_hyperparameters(loggers: Iterable[Logger], config: Mapping[str, Any]) -> None:
    """Log the settings that decide what a run learns."""
    parameters = {
        key: value if isinstance(value, bool | int | float | str) else str(value)
        for key, value in flatten({section: config[section] for section in SECTIONS})
    }
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            # Not through the logger, which would also log a success rate of its own making at step 0.
            experiment, session, _ = hparams(parameters, {"eval/success_rate": 0.0})
            writer = logger.experiment._get_file_writer()  # opened again where an evaluation before `fit` closed it
            writer.add_summary(experiment)
            writer.add_summary(session)
        else:
            logger.log_hyperparams(parameters)
