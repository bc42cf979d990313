"""SawyerReachXYZ: the hand of a Sawyer arm goes to a place in a box above a table."""

from pathlib import Path

import mujoco
import numpy as np
from gymnasium import spaces

from mher_pl.envs.goal import Array, GoalEnv
from mher_pl.envs.sawyer import SawyerVectorEnv


class SawyerReachVectorEnv(SawyerVectorEnv):
    """Sawyer arms above a table.

    The observation, and the achieved goal, is the position [3] of the body `hand`: the wrist's flange, 55 mm above the
    fingertips (metaworld's `hand` is 12 cm further down). Every episode starts from the same state, just outside of the
    box; only the goal is drawn, uniform in the box.

    What differs from multiworld's task:

    - The model is our own, from the robot's URDF: the shapes are primitives, and the closed gripper is one rigid body
      of 0.4 kg instead of two claws of 4 kg, one of them on a free slider.
    - The only contact is between the fingertips and the table, without friction. As there, the fingers stand on the
      table where the target is lower than 56 mm: the hand stays up to 6 mm above it, and an episode starts at a height
      of 53 mm. There, an invisible sphere around the robot's head also pushes the upper arm away in some poses.
    - MuJoCo is 3.x instead of 1.50, and joint damping is integrated explicitly.

    Beside multiworld's model, rebuilt in the same MuJoCo, the hand's path differs by 0.1 mm (median over random walks);
    by up to 7 mm while that sphere or the table's friction acts.
    """

    model_path = Path("reach/reach.xml")
    low, high = np.array([-0.2, 0.55, 0.05]), np.array([0.2, 0.75, 0.3])  # also of the goals
    start = np.array([0.0, 0.5, 0.02])
    threshold = 0.06
    camera = {
        "lookat": np.array([0.05, 0.42, 0.13]),
        "distance": 1.75,
        "azimuth": -40.0,
        "elevation": -20.0,
    }

    def _spaces(self) -> spaces.Dict:
        place = spaces.Box(self.low - 0.1, self.high + 0.1, dtype=np.float64)
        goals = spaces.Box(self.low, self.high, dtype=np.float64)
        return spaces.Dict(observation=place, achieved_goal=place, desired_goal=goals)

    def _read(self) -> tuple[Array, Array]:
        return self._hands.copy(), self._hands.copy()

    def _decorate(self, copy: int, model: mujoco.MjModel) -> None:
        model.site("goal").pos[:] = self.goals[copy]


class SawyerReachEnv(GoalEnv):
    """One Sawyer arm."""

    batch_class = SawyerReachVectorEnv
