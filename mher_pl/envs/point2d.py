"""A point that moves in a square arena, empty or with the walls of four rooms."""

from typing import Any

import numpy as np
from gymnasium import error, spaces
from numpy.typing import NDArray

from mher_pl.envs.draw import Canvas, Window
from mher_pl.envs.goal import Array, GoalEnv, GoalVectorEnv

POINT_RADIUS = 0.5
WALL_HALF_THICKNESS = 0.3
WHITE, GREY, DARK, BLUE, GREEN = (1.0, 1.0, 1.0), (0.85,) * 3, (0.3,) * 3, (0.1, 0.35, 0.8), (0.2, 0.7, 0.3)
CLEARANCE = 0.01  # a point that runs into a wall ends up this far outside of it


class Point2DVectorEnv(GoalVectorEnv):
    """Points in the arena [-b, b]^2, b = `boundary_dist`: an action is a displacement of at most 1 per coordinate."""

    threshold = 1.0

    def __init__(
        self,
        num_envs: int = 1,
        boundary_dist: float = 5.0,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        """Take half the arena's side, `boundary_dist`: 5 in the paper, 4 in the authors' program."""
        if not 0 < boundary_dist < np.inf:
            raise error.Error(f"boundary_dist is {boundary_dist!r}; allowed: a finite number above 0")
        self.boundary_dist = float(boundary_dist)
        place = spaces.Box(-self.boundary_dist, self.boundary_dist, shape=(2,), dtype=np.float64)
        super().__init__(
            num_envs,
            observation_space=spaces.Dict(observation=place, achieved_goal=place, desired_goal=place),
            action_space=spaces.Box(-1.0, 1.0, shape=(2,), dtype=np.float32),
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
        )
        self.positions = np.zeros((self.num_envs, 2))  # [N, 2]
        self._window = Window(type(self).__name__.removesuffix("VectorEnv"), self.metadata["render_fps"])

    def _reset_copy(self, copy: int, rng: np.random.Generator) -> Array:
        self.positions[copy] = self._sample_place(rng)
        return self._sample_place(rng)

    def _sample_place(self, rng: np.random.Generator) -> Array:
        return rng.uniform(-self.boundary_dist, self.boundary_dist, size=2)

    def _advance(self, actions: Array) -> None:
        moved = self._move(self.positions, actions)
        self.positions = np.minimum(np.maximum(moved, -self.boundary_dist), self.boundary_dist)

    def _move(self, start: Array, displacement: Array) -> Array:
        return start + displacement

    def _read(self) -> tuple[Array, Array]:
        return self.positions.copy(), self.positions.copy()

    def _draw(self, copy: int, render_mode: str) -> NDArray[np.uint8] | None:
        image = self._picture(copy).image()
        if render_mode == "rgb_array":
            return image
        self._window.show(image)
        return None

    def _picture(self, copy: int) -> Canvas:
        """Paint the arena on grey ground, the places that count as reached, and the point."""
        canvas = Canvas(reach=1.2 * self.boundary_dist, background=GREY)
        canvas.rectangle([-self.boundary_dist] * 2, [self.boundary_dist] * 2, WHITE)
        canvas.disc(self.goals[copy], self.threshold, GREEN, opacity=0.6)
        canvas.disc(self.positions[copy], POINT_RADIUS, BLUE)
        return canvas

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window."""
        self._window.close()


class FourRoomVectorEnv(Point2DVectorEnv):
    """Points among walls: a plus in the middle of the arena and a stub at the middle of each side.

    A wall is a rectangle that the point's centre cannot enter, so it is grown by the point's radius. Where the bounding
    box of a move meets a wall, each coordinate in which the move starts outside of the wall ends there. Walls correct
    the move one after another.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        """Take the arguments of `Point2DVectorEnv`."""
        super().__init__(*args, **kwargs)
        grown = POINT_RADIUS + WALL_HALF_THICKNESS
        if self.boundary_dist <= grown:
            raise error.Error(f"boundary_dist is {self.boundary_dist!r}; allowed: above {grown}, or all of it is wall")
        spans = np.array([[-1.2, -1.05], [-0.17, 0.17], [1.05, 1.2]]) * self.boundary_dist
        horizontal = [((start - grown, -grown), (end + grown, grown)) for start, end in spans]  # left to right
        vertical = [((-grown, start - grown), (grown, end + grown)) for start, end in spans[::-1]]  # top to bottom
        walls = np.array(horizontal + vertical)[:, :, None]  # [W, 2 (lower, upper corner), 1, 2]
        self.lower, self.upper = walls[:, 0], walls[:, 1]  # [W, 1, 2] each

    def _sample_place(self, rng: np.random.Generator) -> Array:
        while True:
            place = super()._sample_place(rng)
            if not ((self.lower < place) & (place < self.upper)).all(axis=-1).any():
                return place

    def _picture(self, copy: int) -> Canvas:
        canvas = super()._picture(copy)
        for lower, upper in zip(self.lower[:, 0] + POINT_RADIUS, self.upper[:, 0] - POINT_RADIUS, strict=True):
            canvas.rectangle(lower, upper, DARK)
        return canvas

    def _move(self, start: Array, displacement: Array) -> Array:
        end = start + displacement  # [N, 2]
        # Most moves meet no wall: test all walls at once, and correct only the others. A correction leaves a move's box
        # by the clearance at most, so a wall that is farther away cannot be met after it either.
        lower, upper = self.lower - CLEARANCE, self.upper + CLEARANCE
        near = (np.minimum(start, end) <= upper) & (np.maximum(start, end) >= lower)  # [W, N, 2]
        near = near[..., 0] & near[..., 1]  # [W, N]
        moves = np.flatnonzero(near.any(axis=0))
        if moves.size:
            end[moves] = self._correct(start[moves], end[moves], near[:, moves])
        return end

    def _correct(self, start: Array, end: Array, near: NDArray[np.bool_]) -> Array:
        corrected = self._against(start, end, np.flatnonzero(near.any(axis=1)))
        # Caught in both coordinates: the walls in the opposite order may leave one of them free.
        changed = corrected != end
        both = np.flatnonzero(changed[:, 0] & changed[:, 1])
        if both.size:
            order = np.flatnonzero(near[:, both].any(axis=1))[::-1]
            corrected[both] = self._against(start[both], end[both], order)
        return corrected

    def _against(self, start: Array, end: Array, order: NDArray[np.intp]) -> Array:
        lower, upper = self.lower[order], self.upper[order]
        above = start > upper  # [walls in order, N, 2]
        outside = above | (start < lower)
        border = np.where(above, upper + CLEARANCE, lower - CLEARANCE)
        for wall in range(len(order)):
            met = (np.minimum(start, end) <= upper[wall]) & (np.maximum(start, end) >= lower[wall])
            met = (met[:, 0] & met[:, 1])[:, None]
            end = np.where(outside[wall] & met, border[wall], end)
        return end


class Point2DEnv(GoalEnv):
    """One point in an empty arena."""

    batch_class = Point2DVectorEnv


class FourRoomEnv(GoalEnv):
    """One point among the walls of four rooms."""

    batch_class = FourRoomVectorEnv
