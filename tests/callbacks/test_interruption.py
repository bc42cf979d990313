import os
import signal
from types import SimpleNamespace

import pytest
from lightning import Callback

from mher_pl.callbacks.interruption import Interruption
from mher_pl.errors import Interrupted
from mher_pl.signals import signals_given_back


class Fail(Callback):
    """Fails once training is under way."""

    def on_train_batch_end(self, *_) -> None:
        raise RuntimeError("of the user's own")


def test_a_call_that_fails_gives_the_signals_back(build):
    cli = build("point2d")
    cli.trainer.callbacks.append(Fail())
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(RuntimeError, match="of the user's own"):
        cli.trainer.fit(cli.model, cli.datamodule)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_at_a_second_ctrl_c_the_run_ends_at_once_whatever_came_before(build):
    trainer = build("point2d").trainer
    interruption = Interruption()
    with signals_given_back():
        interruption.setup(trainer, SimpleNamespace(), "fit")
        interruption.on_train_start(trainer, SimpleNamespace())
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signum == signal.SIGTERM
