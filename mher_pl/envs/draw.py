"""Pictures of flat worlds, drawn with NumPy, and a window that shows pictures."""

import os
import sys
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Color = tuple[float, float, float]  # red, green, blue in [0, 1]


class Canvas:
    """A square picture of the world [-reach, reach]^2, y upwards, whose shapes have soft edges."""

    def __init__(self, reach: float, pixels: int = 480, background: Color = (1.0, 1.0, 1.0)):
        """Paint the background."""
        self._pixel = 2 * reach / pixels  # its side, in world units
        self._x = -reach + (np.arange(pixels) + 0.5) * self._pixel  # [pixels], of the columns
        self._y = -self._x  # of the rows, downwards
        self._image = np.broadcast_to(np.asarray(background, dtype=np.float64), (pixels, pixels, 3)).copy()

    def disc(self, center: ArrayLike, radius: float, color: Color, opacity: float = 1.0) -> None:
        """Paint a disc."""
        x, y = np.asarray(center)
        outside = np.hypot(self._x[None, :] - x, self._y[:, None] - y) - radius
        self._paint(self._coverage(outside), color, opacity)

    def rectangle(self, lower: ArrayLike, upper: ArrayLike, color: Color, opacity: float = 1.0) -> None:
        """Paint a rectangle along the axes, given by two corners."""
        (x0, y0), (x1, y1) = np.asarray(lower), np.asarray(upper)
        columns = self._coverage(np.maximum(x0 - self._x, self._x - x1))
        rows = self._coverage(np.maximum(y0 - self._y, self._y - y1))
        self._paint(rows[:, None] * columns[None, :], color, opacity)

    def image(self) -> NDArray[np.uint8]:
        """Return the picture, [pixels, pixels, 3]."""
        return np.round(self._image * 255).astype(np.uint8)

    def _coverage(self, outside: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn the distance of the pixels' centres from a shape (negative inside) into the covered part of them."""
        return np.clip(0.5 - outside / self._pixel, 0.0, 1.0)

    def _paint(self, coverage: NDArray[np.float64], color: Color, opacity: float) -> None:
        weight = (coverage * opacity)[..., None]
        self._image += weight * (np.asarray(color) - self._image)


def prefer_offscreen_gl() -> None:
    """Let MuJoCo draw by EGL on a Linux machine without a screen, unless `MUJOCO_GL` says how; GLFW would crash."""
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform == "linux" and not screen:
        os.environ.setdefault("MUJOCO_GL", "egl")


class Window:
    """A window of matplotlib that shows one picture after another."""

    def __init__(self, title: str, fps: float):
        """Wait with opening until there is a picture."""
        self._title, self._seconds = title, 1 / fps
        self._figure: Any = None
        self._shown: Any = None
        self._due = 0.0  # when the picture has had its time

    @staticmethod
    def possible() -> bool:
        """Return whether there is a screen, and a toolkit of matplotlib's for windows on it."""
        import matplotlib
        from matplotlib.backends import backend_registry

        return backend_registry.resolve_backend(matplotlib.get_backend())[1] is not None

    def show(self, image: NDArray[np.uint8]) -> bool:
        """Show a picture for one frame's time, unless the user has closed the window; return whether it is open."""
        from matplotlib import pyplot, rc_context

        if self._figure is None:
            height, width, _ = image.shape
            with rc_context({"toolbar": "None"}):
                self._figure = pyplot.figure(self._title, figsize=(width / 100, height / 100), dpi=100)
            self._shown = self._figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[]).imshow(image)
        if not pyplot.fignum_exists(self._figure.number):
            return False
        self._shown.set_data(image)
        with rc_context({"figure.raise_window": False}):  # or each picture would take the focus
            pyplot.pause(max(self._due - perf_counter(), 0.001))
        self._due = perf_counter() + self._seconds
        return True

    def close(self) -> None:
        """Close the window if it is open."""
        if self._figure is not None:
            from matplotlib import pyplot

            pyplot.close(self._figure)
            self._figure = None
