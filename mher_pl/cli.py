"""LightningCLI of `fit`, `validate` and `test`."""

import logging
import re
import warnings
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from callbacks import Evaluation, ModelWarmup, Progress, RelabelGoalLogger, RunCheckpoint, Timing
from mher_pl.agent import Agent
from mher_pl.data import GoalDataModule
from mher_pl.errors import UserError
from mher_pl.run_folder import latest_run_folder, new_run_folder, require_writable


class Parser(LightningArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the innermost cause with the full key, and exit with 2."""
        self.exit(2, f"error: {one_line(str(message))}\n")


def one_line(message: str) -> str:
    """Condense jsonargparse's nested message to `key: cause`."""
    keys = re.findall(r'(?:Parser key|Key) "([^"]+)"', message)
    causes = [
        line.strip(" -")
        for line in message.splitlines()
        if re.search(r"not accepted|Expected|Got value|required|not found|Unable|Invalid|No action|unrecognized", line)
        and "NoneType" not in line
    ]
    cause = causes[0] if causes else " ".join(message.split())
    return f"{'.'.join(dict.fromkeys(keys))}: {cause}" if keys else cause


class SaveRunConfig(SaveConfigCallback):
    """Save the resolved config in the run's folder, of training runs only."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save before training; a resumed run writes its own again."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class MherCLI(LightningCLI):
    """Wires a config to module, data module, callbacks and trainer."""

    def __init__(self, args: list[str] | None = None, run: bool = True) -> None:
        super().__init__(
            model_class=Agent,
            datamodule_class=GoalDataModule,
            subclass_mode_model=True,
            seed_everything_default=0,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            parser_class=Parser,
            args=args,
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what a config holds beside Lightning's trainer, model and data."""
        parser.add_argument(
            "--algorithm", type=str, default="mher", help="name of the method in run folders and reports"
        )
        parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
        parser.add_lightning_class_args(ModelWarmup, "warmup")
        parser.add_lightning_class_args(Evaluation, "evaluation")
        parser.add_lightning_class_args(RelabelGoalLogger, "relabel_goals")
        parser.set_defaults({"model": "mher_pl.mher.MHER"})
        parser.link_arguments("data.task", "model.init_args.task", apply_on="instantiate")
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def _parse_ckpt_path(self) -> None:
        """Keep the config in charge: a checkpoint is data, its hyperparameters override nothing."""

    def before_instantiate_classes(self) -> None:
        """Set what must hold before any environment or network exists."""
        threads = self._get(self.config, "threads")
        if threads < 1:
            raise UserError(f"threads is {threads}; allowed: an integer of at least 1")
        torch.set_num_threads(threads)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Give a training run its folder and loggers; `validate` and `test` write nothing."""
        config = self._get(self.config_init, "trainer")
        if self.subcommand in (None, "fit"):
            root = require_writable(Path(config["default_root_dir"] or "runs"))
            task = self.datamodule.task.env.split("/")[-1]
            place = (root, task, self._get(self.config, "algorithm"), self._get(self.config, "seed_everything"))
            resume = self.subcommand == "fit" and self._get(self.config, "ckpt_path") == "last"
            folder = latest_run_folder(*place) if resume else new_run_folder(*place)
            kwargs["default_root_dir"] = str(folder)
            if config["logger"] is None:
                kwargs["logger"] = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
            if resume:
                self.config_init[self.subcommand]["ckpt_path"] = str(folder / "checkpoints" / "last.ckpt")
        else:
            kwargs["logger"] = False
        callbacks = [Timing()]
        if config["enable_progress_bar"] is not False:
            callbacks.append(Progress())
        if config["enable_checkpointing"] is not False:
            callbacks.append(RunCheckpoint())
        kwargs["callbacks"] = [*(config["callbacks"] or []), *callbacks]
        return super().instantiate_trainer(**kwargs)

    def before_fit(self) -> None:
        """Log the hyperparameters beside the metrics they led to."""
        for logger in self.trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                parameters = self._get(self.config_dump, "model") | {"data": self._get(self.config_dump, "data")}
                logger.log_hyperparams(parameters, {"eval/success_rate": 0.0})


def run(args: list[str]) -> None:
    """Run `fit`, `validate` or `test` with the given arguments."""
    quiet()
    MherCLI(args)


def load(*configs: str, **overrides: Any) -> MherCLI:
    """Build module, data module and trainer from config files, as `fit` does, without running anything."""
    args = [part for config in configs for part in ("--config", str(config))]
    args += [f"--{key}={value}" for key, value in overrides.items()]
    return MherCLI(args, run=False)


def quiet() -> None:
    """Silence what a user can do nothing about."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
