"""Reacher as a goal-reaching task: a two-joint arm in the plane brings its fingertip to a target."""

from pathlib import Path

import gymnasium.envs.mujoco
import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from mher_pl.envs.batch import MujocoVectorEnv
from mher_pl.envs.goal import Array, GoalEnv

MODEL = Path(gymnasium.envs.mujoco.__file__).parent / "assets" / "reacher.xml"
GOAL_RADIUS = 0.2
REACH = 0.22  # the fingertip is 0.21 from the base at most
SPEED = 500.0  # the joints' damping keeps them near 200 rad/s at full torque


class ReacherVectorEnv(MujocoVectorEnv):
    """Gymnasium's Reacher with its older observation of 11 numbers and the target as the goal.

    Observation: cosine (2) and sine (2) of the joint angles, the episode's own target (2), joint velocities (2), the
    fingertip's position in the plane (2), which is the achieved goal, and its height above the target (1).
    """

    metadata = MujocoVectorEnv.metadata | {"render_fps": 50}
    threshold = 0.02
    camera = {"lookat": np.zeros(3), "distance": 0.85, "azimuth": 90.0, "elevation": -90.0}

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        threads: int | None = None,
    ):
        """Load the model that gymnasium ships."""
        bounds = np.array([1.0] * 4 + [GOAL_RADIUS] * 2 + [SPEED] * 2 + [REACH] * 2 + [0.01])
        super().__init__(
            num_envs,
            mujoco.MjModel.from_xml_path(str(MODEL)),
            substeps=2,  # of 0.01 s
            observation_space=spaces.Dict(
                observation=spaces.Box(-bounds, bounds, dtype=np.float64),
                achieved_goal=spaces.Box(-REACH, REACH, shape=(2,), dtype=np.float64),
                desired_goal=spaces.Box(-GOAL_RADIUS, GOAL_RADIUS, shape=(2,), dtype=np.float64),
            ),
            action_space=spaces.Box(-1.0, 1.0, shape=(2,), dtype=np.float32),
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            threads=threads,
        )
        bodies = [self.model.body(name).id for name in ("fingertip", "target")]
        # Views of each copy's own arrays, which stay where they are.
        self._controls_of = [data.ctrl for data in self.datas]
        self._states = [(data.qpos, data.qvel) for data in self.datas]
        self._places = [data.xpos[bodies[0] : bodies[1] + 1] for data in self.datas]  # fingertip and target, neighbours

    def _reset_data(self, copy: int, data: mujoco.MjData, rng: np.random.Generator) -> Array:
        # Drawn in the order of gymnasium's Reacher, so that a seed gives the same episode in both.
        mujoco.mj_resetData(self.model, data)
        angles = rng.uniform(-0.1, 0.1, size=4)[:2]
        while True:
            goal = rng.uniform(-GOAL_RADIUS, GOAL_RADIUS, size=2)
            if np.linalg.norm(goal) < GOAL_RADIUS:
                break
        data.qpos[:2], data.qpos[2:] = self.model.qpos0[:2] + angles, goal
        data.qvel[:2] = rng.uniform(-0.005, 0.005, size=4)[:2]
        mujoco.mj_forward(self.model, data)
        return goal

    def _place_goal(self, copy: int, goal: ArrayLike) -> None:
        super()._place_goal(copy, goal)
        self.datas[copy].qpos[2:] = goal  # the target is part of the observation
        mujoco.mj_forward(self.model, self.datas[copy])

    def _apply(self, copy: int, data: mujoco.MjData, control: Array) -> None:
        self._controls_of[copy][:] = control

    def _read(self) -> tuple[Array, Array]:
        qpos, qvel = np.array(self._states).swapaxes(0, 1)  # [N, 4] each
        places = np.array(self._places)  # [N, 2 bodies, 3]
        angles, target, fingertip = qpos[:, :2], qpos[:, 2:], places[:, 0, :2]
        height = places[:, 0, 2:] - places[:, 1, 2:]
        parts = [np.cos(angles), np.sin(angles), target, qvel[:, :2], fingertip, height]
        return np.concatenate(parts, axis=1), fingertip.copy()


class ReacherEnv(GoalEnv):
    """One Reacher."""

    metadata = GoalEnv.metadata | {"render_fps": 50}
    batch_class = ReacherVectorEnv
