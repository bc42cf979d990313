"""A point that moves in a square arena, empty or with the walls of four rooms."""

from typing import Any

import numpy as np
from gymnasium import error, spaces
from numpy.typing import NDArray

from mher_pl.envs.goal import Array, GoalEnv, GoalVectorEnv

POINT_RADIUS = 0.5
WALL_HALF_THICKNESS = 0.3
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


class FourRoomVectorEnv(Point2DVectorEnv):
    """Points among walls: a plus in the middle of the arena and a stub at the middle of each side.

    A wall is a rectangle that the point's centre cannot enter, so it is grown by the point's radius. The bounding box
    of a move is tested against the walls one after another, each with what the one before left of the move.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        """Take the arguments of `Point2DVectorEnv`."""
        super().__init__(*args, **kwargs)
        grown = POINT_RADIUS + WALL_HALF_THICKNESS
        spans = np.array([[-1.2, -1.05], [-0.17, 0.17], [1.05, 1.2]]) * self.boundary_dist
        horizontal = [((start - grown, -grown), (end + grown, grown)) for start, end in spans]  # left to right
        vertical = [((-grown, start - grown), (grown, end + grown)) for start, end in spans[::-1]]  # top to bottom
        self.walls = np.array(horizontal + vertical)  # [W, 2 (lower, upper corner), 2]
        self._lower, self._upper = self.walls[:, 0], self.walls[:, 1]  # [W, 2] each

    def _sample_place(self, rng: np.random.Generator) -> Array:
        while True:
            place = super()._sample_place(rng)
            if not ((self._lower < place) & (place < self._upper)).all(axis=-1).any():
                return place

    def _move(self, start: Array, displacement: Array) -> Array:
        end = start + displacement  # [N, 2]
        # Most moves hit no wall at all: test every wall at once, and correct only the others.
        crossed_upper, crossed_lower = _crossings(start, end, self._lower[:, None], self._upper[:, None])  # [W, N, 2]
        hit = np.flatnonzero((crossed_upper | crossed_lower).any(axis=(0, 2)))
        if hit.size:
            end[hit] = self._correct(start[hit], end[hit])
        return end

    def _correct(self, start: Array, end: Array) -> Array:
        corrected = self._against_walls(start, end, range(len(self.walls)))
        # Caught in both coordinates: the walls in the opposite order may leave one of them free.
        both = np.flatnonzero((corrected != end).all(axis=-1))
        if both.size:
            corrected[both] = self._against_walls(start[both], end[both], reversed(range(len(self.walls))))
        return corrected

    def _against_walls(self, start: Array, end: Array, order: Any) -> Array:
        for wall in order:
            lower, upper = self._lower[wall], self._upper[wall]
            crossed_upper, crossed_lower = _crossings(start, end, lower, upper)
            end = np.where(crossed_upper, upper + CLEARANCE, end)
            end = np.where(crossed_lower, lower - CLEARANCE, end)
        return end


def _crossings(start: Array, end: Array, lower: Array, upper: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say for each coordinate whether a move enters a wall through its upper and through its lower side, [..., 2]."""
    touches = (np.minimum(start, end) <= upper) & (np.maximum(start, end) >= lower)
    touches = touches[..., ::-1]  # a side is crossed only where the move's box meets the wall in the other coordinate
    return (start > upper) & (end <= upper) & touches, (start < lower) & (end >= lower) & touches


class Point2DEnv(GoalEnv):
    """One point in an empty arena."""

    batch_class = Point2DVectorEnv


class FourRoomEnv(GoalEnv):
    """One point among the walls of four rooms."""

    batch_class = FourRoomVectorEnv
