"""A Sawyer arm whose hand is dragged through a box by a mocap body: what its tasks have in common."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mher_pl.envs.batch import MujocoVectorEnv
from mher_pl.envs.goal import Array

MODELS = Path(__file__).parent / "assets" / "sawyer"
ACTION_SCALE = 0.02  # metres per control step
SUBSTEPS = 50
RESET_JOINTS = (1.7244448, -0.92036369, 0.10234232, 2.11178144, 2.97668632, -0.38664629, 0.54065733)
RESET_QUATERNION = (1.0, 0.0, 1.0, 0.0)  # of the mocap body
RESET_CONTROL_STEPS = 10


def load_model(path: Path, decorated: bool) -> mujoco.MjModel:
    """Build a task's model; the shapes that are only looked at slow every step down: they are in the `decorated` one.

    Args:
        path: below the folder of models.
        decorated: whether it is to be drawn.
    """
    spec = mujoco.MjSpec.from_file(str(MODELS / path))
    spec.compiler.discardvisual = not decorated
    return spec.compile()


class SawyerVectorEnv(MujocoVectorEnv):
    """Arms whose action moves the mocap target by up to 2 cm per coordinate inside a box.

    Every episode starts from the same state: the arm at `RESET_JOINTS`, then drawn to the `start` for ten control
    steps. A subclass sets the class attributes, and what is observed and asked for.
    """

    model_path: Path  # below the folder of models
    low: Array  # of the mocap body's box, in metres
    high: Array
    start: Array  # of the mocap body

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        threads: int | None = None,
    ):
        """Build the model and simulate the start of every episode once."""
        super().__init__(
            num_envs,
            load_model(self.model_path, decorated=False),
            substeps=SUBSTEPS,
            observation_space=self._spaces(),
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

    @abstractmethod
    def _spaces(self) -> spaces.Dict:
        """Return the space of observations, achieved and desired goals."""

    def _simulate_start(self) -> mujoco.MjData:
        data = mujoco.MjData(self.model)
        data.qpos[:7] = RESET_JOINTS
        data.mocap_pos[0], data.mocap_quat[0] = self.start, RESET_QUATERNION
        mujoco.mj_step(self.model, data, RESET_CONTROL_STEPS * SUBSTEPS)
        mujoco.mj_forward(self.model, data)
        return data

    def _reset_data(self, copy: int, data: mujoco.MjData, rng: np.random.Generator) -> Array:
        mujoco.mj_copyData(data, self.model, self._start)  # with the solver's warm start
        self.targets[copy] = self.start
        return rng.uniform(self.goal_space.low, self.goal_space.high)

    def _controls(self, actions: NDArray[np.floating]) -> Array:
        moved = self.targets + ACTION_SCALE * actions.astype(np.float64)
        self.targets = np.minimum(np.maximum(moved, self.low), self.high)
        return self.targets

    def _apply(self, copy: int, data: mujoco.MjData, control: Array) -> None:
        self._mocap_views[copy][:] = control

    def _measure(self, copy: int, data: mujoco.MjData) -> None:
        self._hands[copy] = self._hand_views[copy]

    @abstractmethod
    def _decorate(self, copy: int, model: mujoco.MjModel) -> None:
        """Show the goal of one copy in a model that is only drawn."""

    def _draw(self, copy: int, render_mode: str) -> NDArray[np.uint8] | None:
        if self._renderer is None:
            from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

            self._decorated = load_model(self.model_path, decorated=True)
            self._scene = mujoco.MjData(self._decorated)
            self._renderer = MujocoRenderer(self._decorated, self._scene, self.camera, self.size, self.size)
        self._decorate(copy, self._decorated)
        assert self._scene is not None  # made with the renderer
        self._scene.qpos[:] = self.datas[copy].qpos
        mujoco.mj_forward(self._decorated, self._scene)
        picture: Any = self._renderer.render(render_mode)
        return picture
