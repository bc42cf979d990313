"""LightningCLI of `fit`, `validate` and `test`."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import yaml
from lightning import seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, Namespace
from lightning.pytorch.strategies import StrategyRegistry

from mher_pl.agent import Agent
from mher_pl.callbacks import (
    Interruption,
    KeptArguments,
    Progress,
    RunCheckpoint,
    RunEnd,
    SavedInterruption,
    SeedSummary,
    Timing,
)
from mher_pl.data import GoalDataModule
from mher_pl.errors import EnvironmentFailed, SeedsFailed, UserError, require, require_int
from mher_pl.parallel.cluster import global_rank
from mher_pl.parallel.ddp import WorkerStrategy
from mher_pl.parallel.seeds import SeedParallelStrategy
from mher_pl.run import failures
from mher_pl.run.arguments import Parser, expand_run, resolve_configs
from mher_pl.run.messages import UsageError, as_written, explain, explain_class, quiet
from mher_pl.run.output import Output, as_list
from mher_pl.run.saved_config import SaveRunConfig, own_config
from mher_pl.run.settings_help import CALLBACKS, SECTIONS, TOP, describe
from mher_pl.run.start import Start, find_start
from mher_pl.run.trainer import RunTrainer
from mher_pl.run.trainer_settings import (
    about_setting,
    require_monitors,
    require_other_names,
    require_trainer_settings,
)
from mher_pl.signals import ended_by_signals
from mher_pl.storage.folder import RunFolders, checkpoint_file, local_path
from mher_pl.storage.metrics import MetricsTable
from mher_pl.storage.settings import flatten
from mher_pl.storage.writer import PlainCheckpointIO
from mher_pl.streams import MAX_SEED

USAGES = {
    "fit": "python -m mher_pl fit --config TASK [--config OVERLAY] [options]",
    "validate": "python -m mher_pl validate RUN [options]",
    "test": "python -m mher_pl test RUN [options]",
}
MOST_THREADS = 1024  # torch ends the program where it cannot start them


class MherCLI(LightningCLI):
    """Wires a config to module, data module, callbacks and trainer."""

    def __init__(self, args: list[str] | None = None, run: bool = True) -> None:
        self.command = args[0] if args else None
        self.output: Output | None = None  # where a run is trained
        self.start = Start()
        self.changes: list[str] = []  # in the settings of a run that goes on
        self.built_only = not run
        super().__init__(
            model_class=Agent,
            datamodule_class=GoalDataModule,
            trainer_class=RunTrainer,
            subclass_mode_model=True,
            seed_everything_default=0,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"save_to_log_dir": False},
            auto_configure_optimizers=False,
            parser_class=Parser,
            parser_kwargs={self.command: {"usage": USAGES[self.command]}} if self.command in USAGES else None,
            args=args,
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what a config holds beside Lightning's trainer, model and data."""
        parser.add_argument("--algorithm", type=str, default="mher", help=TOP["algorithm"])
        parser.add_argument("--threads", type=int | None, default=None, help=TOP["threads"])
        if self.built_only:
            parser.add_argument("--ckpt_path", type=str | None, default=None, help=TOP["ckpt_path"])
        for section, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, section)
        parser.set_defaults({"model": "mher_pl.mher.MHER"})
        parser.link_arguments("data.task", "model.init_args.task", apply_on="instantiate")
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Parse the arguments, in which a config file may be given by its name.

        Raises:
            UsageError: they cannot be parsed.
            UserError: a config is missing, or Lightning would not take the seed.
        """
        asks = any(arg in ("-h", "--help") for arg in args) and any(arg.startswith("--config") for arg in args)
        args = resolve_configs([arg for arg in args if not (asks and arg in ("-h", "--help"))])
        try:
            self.config = parser.parse_args(args)
        except ValueError as error:  # a file that is no text
            raise UsageError(explain(str(error), args)) from error
        except UsageError as error:
            raise UsageError(explain(str(error), args)) from error
        self.subcommand = self.config.get("subcommand")
        if asks:
            print(describe(self.of_command(self.config).as_dict()))
            sys.exit(0)
        require_int("seed_everything", self.of_command(self.config).seed_everything, 0, MAX_SEED)

    def of_command(self, config: Namespace) -> Namespace:
        """Return what a config holds for the command, which is all of it where `load` builds without one."""
        return config if self.subcommand is None else config[self.subcommand]

    def _set_seed(self) -> None:  # whoever builds a run in Python keeps the libraries' generators as they are
        """Seed the libraries' generators on the command line; a run itself draws from streams of its own."""
        if not self.built_only:
            super()._set_seed()

    def _parse_ckpt_path(self) -> None:  # Lightning has no setting that keeps a checkpoint from changing the config
        """Keep the config in charge: a checkpoint is data, its hyperparameters override nothing."""

    def subcommands(self) -> dict[str, set[str]]:
        """Return the command that was asked for alone, for the parser of each takes time to build.

        `weights_only` is no option: checkpoints are never read as anything else.
        """
        skip = LightningCLI.subcommands()
        names = [self.command] if self.command in skip else list(skip)
        return {name: skip[name] | {"weights_only"} for name in names}

    def before_instantiate_classes(self) -> None:
        """Set what must hold before any environment or network exists."""
        config = self.of_command(self.config)
        for section in SECTIONS:
            value = config[section]
            require(isinstance(value, Namespace), section, value, "settings below it, as in configs/*.yaml")
        named = isinstance(config.algorithm, str) and re.fullmatch(r"\w[\w.-]{0,99}", config.algorithm) is not None
        require(named, "algorithm", config.algorithm, "a name of at most 100 letters, digits, _, - and .")
        if config.threads is not None:
            require_int("threads", config.threads, 1, MOST_THREADS)
        self.seed_parallel = str(config.trainer.strategy) == SeedParallelStrategy.strategy_name
        if self.seed_parallel:
            if self.subcommand != "fit":
                command = self.subcommand or "a sweep or mher_pl.load"
                raise UserError(f"trainer.strategy is 'seed_parallel' in {command}; allowed: in fit")
            seed = config.seed_everything + global_rank(config.trainer.devices)
            require_int("seed_everything", seed, 0, MAX_SEED)
            config.seed_everything = config.data.seed = config.model.init_args.seed = seed
            seed_everything(seed, workers=True, verbose=False)

    def instantiate_classes(self) -> None:
        """Instantiate everything, and let a user's mistake out of the parser's own error around it.

        Raises:
            UserError: a class of the config, or one that it needs, cannot be built.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, UserError):
                cause = cause.__cause__ or cause.__context__
            config = self.of_command(self.config).as_dict()
            if cause is None and (reason := explain_class(str(error), config)):
                raise UserError(reason) from error
            raise (UserError(as_written(str(cause), config)) if cause else error) from None

    def instantiate_trainer(self, **kwargs: Any) -> RunTrainer:
        """Give a training run its folder, logger and callbacks; `validate` and `test` write nothing."""
        config = self.of_command(self.config_init).trainer
        require_trainer_settings(config)
        try:
            self.model.configure_model()  # parts that do not fit together are refused before anything is written
            self.datamodule.meet(self.model)
        except (MemoryError, RuntimeError) as error:
            raise failures.of_networks(error) or error from error
        kwargs["plugins"] = [*as_list(config["plugins"]), PlainCheckpointIO()]
        callbacks: list[Callback] = [Timing(), KeptArguments(), RunEnd()]
        if self.subcommand in (None, "fit"):
            folders = self._settle_start(config)
            if not config["fast_dev_run"]:
                writes = self.seed_parallel or global_rank(config["devices"]) == 0
                self.output = Output.claim(folders, self.start, writes)
                kwargs |= self.output.trainer_arguments(config, self.start)
                if writes:
                    self.datamodule.table = MetricsTable(self.output.folder, self.start.env_steps)
            if self.seed_parallel:
                seed = self.of_command(self.config).seed_everything
                self.seed_summary = SeedSummary(None if self.output is None else self.output.folder, seed)
                callbacks.append(self.seed_summary)
        else:
            kwargs["logger"] = False
            options = self.of_command(self.config_init)
            limit = "limit_val_batches" if self.subcommand == "validate" else "limit_test_batches"
            require(config[limit] != 0, f"trainer.{limit}", config[limit], f"more than 0 in {self.subcommand}")
            if options.ckpt_path is None:
                raise UserError(
                    f"ckpt_path is missing; allowed: {self.subcommand} RUN, or --ckpt_path RUN; RUN is a run's folder, "
                    "RUN/best or a checkpoint"
                )
            options.ckpt_path = str(checkpoint_file(options.ckpt_path))
        own_bar = any(isinstance(callback, ProgressBar) for callback in as_list(config["callbacks"]))
        if config["enable_progress_bar"] is not False and not own_bar:
            callbacks.append(Progress())
        if self.output is not None and config["enable_checkpointing"] is not False:
            checkpoint = RunCheckpoint(self.output.folder)
            callbacks += [checkpoint, SavedInterruption(checkpoint)]
        else:
            callbacks.append(Interruption())
        kwargs["callbacks"] = [*as_list(config["callbacks"]), *callbacks]
        try:
            require_monitors(kwargs["callbacks"])
            require_other_names(kwargs["callbacks"])
            with own_strategies():
                trainer = cast(RunTrainer, super().instantiate_trainer(**kwargs))
        except Exception as error:
            if self.output is not None:
                self.output.remove()
            if isinstance(error, UserError):
                raise
            raise about_setting(error, config) or UserError(
                f"trainer cannot be built as configured: {error}"
            ) from error
        trainer.threads, trainer.start, trainer.output = self.of_command(self.config).threads, self.start, self.output
        trainer.tells_interruptions = self.built_only
        if self.start.ended and not self.changes:
            trainer.fit_loop.max_epochs = self.start.epochs  # early stopping would look only after another one
        return trainer

    def _settle_start(self, config: dict[str, Any]) -> RunFolders:
        """Set where the run starts, and return where its folder lies among others, once it is clear that it can.

        Raises:
            UserError: it cannot.
        """
        options = self.of_command(self.config_init)
        root = local_path(config["default_root_dir"] or "runs", "trainer.default_root_dir")
        folders = RunFolders(root, self.datamodule.task.env, options.algorithm, options.seed_everything)
        trial = config["fast_dev_run"]
        require(not trial or options.ckpt_path is None, "trainer.fast_dev_run", trial, "false with ckpt_path")
        self.start, saved = find_start(options.ckpt_path, folders)
        options.ckpt_path = None if self.start.checkpoint is None else str(self.start.checkpoint)
        if saved is not None:
            self.start.require_epochs_left(config["max_epochs"])
            self.model.require_own(saved)
            self.datamodule.require_own(saved[type(self.datamodule).__name__])
            dump = self._parser(self.subcommand).dump(own_config(self.of_command(self.config)), skip_none=False)
            self.changes = self.start.changes(dict(flatten(yaml.safe_load(dump))))
        return folders

    def _run_subcommand(self, subcommand: str) -> None:  # no public method encloses all of a command, errors included
        """Run it; what it cannot begin leaves no folder."""
        try:
            super()._run_subcommand(subcommand)
        except EnvironmentFailed:
            raise
        except Exception as error:
            began = self.datamodule.env_steps > max(self.start.env_steps, 0)
            if self.output is not None and not began:
                self.output.remove()
            if isinstance(error, ValueError | MisconfigurationException) and not began:
                raise about_setting(error, self.of_command(self.config_init).trainer) or error from error
            folder = self.output.folder if self.output is not None and self.output.writes else None
            raise failures.of_machine(error, folder) or error from error

    def tell_start(self) -> None:
        """Say which run goes on, from where, and with which other settings."""
        if self.output is not None and self.output.writes:
            for line in self.start.lines(self.output.folder, self.trainer.max_epochs, self.changes):
                print(line)

    def before_fit(self) -> None:
        """Say what goes on."""
        self.tell_start()

    def after_fit(self) -> None:
        """Fail if a seed failed.

        Raises:
            SeedsFailed: with the seeds and why.
        """
        if self.seed_parallel:
            strategy = cast(SeedParallelStrategy, self.trainer.strategy)
            strategy.launcher.wait()
            if failed := self.seed_summary.failures():
                reasons = ", ".join(f"seed {seed} ({reason})" for seed, reason in failed.items())
                raise SeedsFailed(f"{len(failed)} of {strategy.seeds} seeds failed: {reasons}")


@contextmanager
def own_strategies() -> Iterator[None]:
    """Let Lightning find the strategies of this package by their names, `ddp` also where `auto` stands for it."""
    lightnings = dict(StrategyRegistry)
    StrategyRegistry.register("seed_parallel", SeedParallelStrategy, "One independent seed a device", override=True)
    StrategyRegistry.register("ddp", WorkerStrategy, "Data-parallel workers", override=True)
    try:
        yield
    finally:
        StrategyRegistry.clear()
        StrategyRegistry.update(lightnings)


def run(args: list[str]) -> None:
    """Run `fit`, `validate` or `test` with the given arguments."""
    quiet()
    args = [re.sub(r"^-c(?=$|=)", "--config", arg) for arg in expand_run(args)]
    if not any(arg == "-h" or arg.startswith(("--config", "--help", "--print_config")) for arg in args):
        run_first = "" if args[0] == "fit" else f"{args[0]} RUN [options], with RUN first, or "
        raise UserError(
            f"--config is missing; allowed: {run_first}--config fetch, the name of a task or a YAML file, and overlays"
        )
    threading.excepthook = failures.of_thread
    with ended_by_signals():
        MherCLI(args)
