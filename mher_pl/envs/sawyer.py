"""SawyerReachXYZ: the hand of a Sawyer arm, dragged by a mocap body, goes to a place in a box above a table."""

from pathlib import Path

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mher_pl.envs.batch import MujocoVectorEnv
from mher_pl.envs.goal import Array, GoalEnv

MODEL = Path(__file__).parent / "assets" / "sawyer" / "sawyer_reach.xml"
LOW, HIGH = np.array([-0.2, 0.55, 0.05]), np.array([0.2, 0.75, 0.3])  # of the mocap body and of the goals, in metres
ACTION_SCALE = 0.02  # metres per control step
SUBSTEPS = 50  # of 2 ms
RESET_JOINTS = (1.7244448, -0.92036369, 0.10234232, 2.11178144, 2.97668632, -0.38664629, 0.54065733)
RESET_MOCAP_POSITION, RESET_MOCAP_QUATERNION = (0.0, 0.5, 0.02), (1.0, 0.0, 1.0, 0.0)
RESET_CONTROL_STEPS = 10


def load_model(decorated: bool) -> mujoco.MjModel:
    """Build the robot; the shapes that are only looked at slow every step down, so they are in the `decorated` one."""
    spec = mujoco.MjSpec.from_file(str(MODEL))
    spec.compiler.discardvisual = not decorated
    return spec.compile()


class SawyerReachVectorEnv(MujocoVectorEnv):
    """Sawyer arms whose action moves the mocap target by up to 2 cm per coordinate inside the box.

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

    threshold = 0.06
    camera = {
        "lookat": np.array([0.05, 0.42, 0.13]),
        "distance": 1.75,
        "azimuth": -40.0,
        "elevation": -20.0,
    }

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        threads: int | None = None,
    ):
        """Build the model and simulate the start of every episode once."""
        place = spaces.Box(LOW - 0.1, HIGH + 0.1, dtype=np.float64)
        super().__init__(
            num_envs,
            load_model(decorated=False),
            substeps=SUBSTEPS,
            observation_space=spaces.Dict(
                observation=place, achieved_goal=place, desired_goal=spaces.Box(LOW, HIGH, dtype=np.float64)
            ),
            action_space=spaces.Box(-1.0, 1.0, shape=(3,), dtype=np.float32),
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            threads=threads,
        )
        hand = self.model.body("hand").id
        self._start = self._simulate_start()
        self.targets = np.zeros((self.num_envs, 3))  # position of the mocap bodies
        self._hands = np.zeros((self.num_envs, 3))
        self._mocap_views = [data.mocap_pos[0] for data in self.datas]
        self._hand_views = [data.xpos[hand] for data in self.datas]

    def _simulate_start(self) -> mujoco.MjData:
        data = mujoco.MjData(self.model)
        data.qpos[:] = RESET_JOINTS
        data.mocap_pos[0], data.mocap_quat[0] = RESET_MOCAP_POSITION, RESET_MOCAP_QUATERNION
        mujoco.mj_step(self.model, data, RESET_CONTROL_STEPS * SUBSTEPS)
        mujoco.mj_forward(self.model, data)
        return data

    def _reset_data(self, copy: int, data: mujoco.MjData, rng: np.random.Generator) -> Array:
        mujoco.mj_copyData(data, self.model, self._start)  # with the solver's warm start
        self.targets[copy] = RESET_MOCAP_POSITION
        return rng.uniform(LOW, HIGH)

    def _controls(self, actions: NDArray[np.floating]) -> Array:
        moved = self.targets + ACTION_SCALE * actions.astype(np.float64)
        self.targets = np.minimum(np.maximum(moved, LOW), HIGH)
        return self.targets

    def _apply(self, copy: int, data: mujoco.MjData, control: Array) -> None:
        self._mocap_views[copy][:] = control

    def _measure(self, copy: int, data: mujoco.MjData) -> None:
        self._hands[copy] = self._hand_views[copy]

    def _read(self) -> tuple[Array, Array]:
        return self._hands.copy(), self._hands.copy()

    def _draw(self, copy: int, render_mode: str) -> NDArray[np.uint8] | None:
        if self._renderer is None:
            from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

            self._decorated = load_model(decorated=True)
            self._scene = mujoco.MjData(self._decorated)
            self._renderer = MujocoRenderer(self._decorated, self._scene, self.camera, self.size, self.size)
        self._decorated.site("goal").pos[:] = self.goals[copy]
        assert self._scene is not None  # made with the renderer
        self._scene.qpos[:] = self.datas[copy].qpos
        mujoco.mj_forward(self._decorated, self._scene)
        return self._renderer.render(render_mode)


class SawyerReachEnv(GoalEnv):
    """One Sawyer arm."""

    batch_class = SawyerReachVectorEnv
