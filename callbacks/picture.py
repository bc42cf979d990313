"""Pictures: from a figure to pixels, and from there to the loggers that show pictures."""

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def render(figure: Figure) -> np.ndarray:
    """Return the figure's pixels, uint8 [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def log_picture(trainer: Trainer, tag: str, figure: Figure, env_steps: int) -> None:
    """Log a figure as a picture, against environment steps, with every logger that shows pictures."""
    image = render(figure)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, image, env_steps, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [image], env_steps)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, image, key=tag, step=env_steps)
