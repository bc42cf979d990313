"""SawyerDoor: a Sawyer arm opens the door of a cabinet to an angle, by a hook in its hand."""

from pathlib import Path

import mujoco
import numpy as np
from gymnasium import spaces

from mher_pl.envs.goal import Array, GoalEnv
from mher_pl.envs.sawyer import SawyerVectorEnv

WIDEST = 0.83  # angle that is asked for, in radians; the door opens to 1.0472


class SawyerDoorVectorEnv(SawyerVectorEnv):
    """Sawyer arms at a cabinet, the authors' extra task `SawyerDoor-v0`.

    The observation [4] is the position of the body `hand` and the door's angle in radians; the angle [1] is the
    achieved goal. Every episode starts from the same state, the door shut and the hook above the gap behind its handle;
    only the goal is drawn, uniform from shut to 0.83. It is reached within 0.06, so a door that stays shut succeeds in
    0.07 of the episodes. A control step is 0.15 s.

    What differs from the authors' task, which is multiworld's `SawyerDoorHookEnv` with the angle alone as the goal:

    - The arm is our own, from the robot's URDF. It touches the door with hook and wrist alone, the wrist as a cylinder.
    - An episode that comes after another starts at rest; there the arm keeps the speed that it had.
    - Success is the reward's, within 0.06; there the reward has 0.06 and success 0.02.
    - MuJoCo is 3.x instead of 1.50, and joint damping is integrated explicitly.
    """

    model_path = Path("door/door.xml")
    low, high = np.array([-0.1, 0.45, 0.1]), np.array([0.05, 0.65, 0.25])
    start = np.array([-0.05, 0.635, 0.225])
    threshold = 0.06
    camera = {
        "lookat": np.array([0.0, 0.6, 0.15]),
        "distance": 1.5,
        "azimuth": 35.0,
        "elevation": -25.0,
    }

    def _spaces(self) -> spaces.Dict:
        angle = spaces.Box(-0.1, 1.2, shape=(1,), dtype=np.float64)
        low, high = np.append(self.low - 0.1, angle.low), np.append(self.high + 0.1, angle.high)
        return spaces.Dict(
            observation=spaces.Box(low, high, dtype=np.float64),
            achieved_goal=angle,
            desired_goal=spaces.Box(0.0, WIDEST, shape=(1,), dtype=np.float64),
        )

    def _simulate_start(self) -> mujoco.MjData:
        data = super()._simulate_start()
        # On its way to the start the hook tears the door open.
        door = self.model.joint("door")
        data.qpos[door.qposadr], data.qvel[door.dofadr] = 0.0, 0.0
        mujoco.mj_forward(self.model, data)
        return data

    def _read(self) -> tuple[Array, Array]:
        door = self.model.joint("door").qposadr[0]
        angles = np.array([[data.qpos[door]] for data in self.datas])  # [N, 1]
        return np.concatenate([self._hands, angles], axis=-1), angles

    def _decorate(self, copy: int, model: mujoco.MjModel) -> None:
        angle = self.goals[copy, 0]
        model.body("goal").quat[:] = [np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)]


class SawyerDoorEnv(GoalEnv):
    """One Sawyer arm at a cabinet."""

    batch_class = SawyerDoorVectorEnv
