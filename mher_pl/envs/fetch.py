"""gymnasium-robotics' Fetch tasks with quicker Python around the physics, equal to its own environments bit by bit."""

from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import error
from gymnasium_robotics.envs.fetch.fetch_env import MujocoFetchEnv
from gymnasium_robotics.utils.rotations import mat2euler
from numpy.typing import ArrayLike, NDArray

from mher_pl.envs.batch import MujocoVectorEnv
from mher_pl.envs.goal import Array, GoalEnv

STEP_LENGTH = 0.05  # an action of 1 moves the gripper's target by this many metres
GRIPPER_DOWN = np.array([1.0, 0.0, 1.0, 0.0])  # added to the target's quaternion at every step, as the original does


class FetchVectorEnv(MujocoVectorEnv):
    """FetchReach, FetchPush, FetchPickAndPlace and FetchSlide.

    One environment of gymnasium-robotics, the template, brings the model, the resets and the rewards. Only the step and
    the observation, slow Python there, are done anew, in the original's order of operations and its precision (float32
    actions are scaled in float32), so that they agree to the last bit.
    """

    metadata = MujocoVectorEnv.metadata | {"render_fps": MujocoFetchEnv.metadata["render_fps"]}

    def __init__(
        self,
        id: str,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        threads: int | None = None,
        **kwargs: Any,
    ):
        """Take the task's id; `kwargs` (`reward_type`, ...) go to its own environment."""
        template = gymnasium.make(id, **kwargs).unwrapped
        if not isinstance(template, MujocoFetchEnv):
            raise error.Error(f"{id} is not one of the Fetch tasks")
        super().__init__(
            num_envs,
            template.model,
            template.n_substeps,
            template.observation_space,
            template.action_space,
            max_episode_steps=max_episode_steps,
            render_mode=render_mode,
            threads=threads,
        )
        self.template, self.spec = template, template.spec
        self.threshold, self.has_object = template.distance_threshold, template.has_object
        self.camera, self.size = template.mujoco_renderer.default_cam_config, template.width
        model, datas = self.model, self.datas
        (weld,) = np.flatnonzero(model.eq_type == mujoco.mjtEq.mjEQ_WELD)  # of the gripper to its target, the mocap
        first, second = model.eq_obj1id[weld], model.eq_obj2id[weld]
        gripper = second if model.body_mocapid[first] != -1 else first
        # Every actuator's set point is its joint's position plus the action.
        self._actuated = model.jnt_qposadr[model.actuator_trnid[:, 0]]
        robot = [joint for joint in range(model.njnt) if model.joint(joint).name.startswith("robot")]
        finger_qpos, finger_qvel = model.jnt_qposadr[robot[-2:]], model.jnt_dofadr[robot[-2:]]
        # Views of each copy's own arrays, which stay where they are.
        self._drive = [(d.mocap_pos[0], d.mocap_quat[0], d.xpos[gripper], d.xquat[gripper]) for d in datas]
        self._grip, self._grip_place = self._site("robot0:grip")
        self._fingers = [d.qpos[finger_qpos[0] : finger_qpos[1] + 1] for d in datas]
        self._finger_speeds = [d.qvel[finger_qvel[0] : finger_qvel[1] + 1] for d in datas]
        self._speeds = [d.qvel for d in datas]
        self._jacobians = np.zeros((self.num_envs, 2, 3, model.nv))
        self._grip_velocity = np.zeros((self.num_envs, 3))
        if self.has_object:
            self._object, self._object_place = self._site("object0")
            self._object_axes = [d.site_xmat[self._object] for d in datas]
            self._object_velocity = np.zeros((2, self.num_envs, 3))  # linear and angular

    def _site(self, name: str) -> tuple[int, list[Array]]:
        site = self.model.site(name).id
        return site, [data.site_xpos[site] for data in self.datas]

    def _reset_data(self, copy: int, data: mujoco.MjData, rng: np.random.Generator) -> Array:
        self.template.data, self.template.np_random = data, rng
        while not self.template._reset_sim():
            pass
        return self.template._sample_goal()

    def _controls(self, actions: NDArray[np.floating]) -> Array:
        controls = actions.astype(np.float64)
        controls[:, :3] = actions[:, :3] * actions.dtype.type(STEP_LENGTH)
        if self.template.block_gripper:
            controls[:, 3] = 0.0
        return controls

    def _apply(self, copy: int, data: mujoco.MjData, control: Array) -> None:
        target, target_quaternion, place, quaternion = self._drive[copy]
        np.add(place, control[:3], out=target)
        np.add(quaternion, GRIPPER_DOWN, out=target_quaternion)
        if self._actuated.size:
            data.ctrl[:] = data.qpos[self._actuated] + control[3]

    def _settle(self, copy: int, data: mujoco.MjData) -> None:
        if self.template.block_gripper:
            self._fingers[copy][:] = 0.0
            # The original calls `mj_forward`; of what that computes only the places are ever read before the next step.
            mujoco.mj_kinematics(self.model, data)
            mujoco.mj_comPos(self.model, data)  # for the Jacobians

    def _measure(self, copy: int, data: mujoco.MjData) -> None:
        linear, angular = self._jacobians[copy]
        speeds = self._speeds[copy]
        mujoco.mj_jacSite(self.model, data, linear, None, self._grip)
        np.dot(linear, speeds, out=self._grip_velocity[copy])
        if self.has_object:
            mujoco.mj_jacSite(self.model, data, linear, angular, self._object)
            np.dot(linear, speeds, out=self._object_velocity[0, copy])
            np.dot(angular, speeds, out=self._object_velocity[1, copy])

    def _read(self) -> tuple[Array, Array]:
        dt = self.template.dt
        grip, velocity = np.array(self._grip_place), self._grip_velocity * dt
        fingers, finger_speeds = np.array(self._fingers), np.array(self._finger_speeds) * dt
        if not self.has_object:
            return np.concatenate([grip, fingers, velocity, finger_speeds], axis=1), grip
        place = np.array(self._object_place)
        rotation = mat2euler(np.array(self._object_axes).reshape(-1, 3, 3))
        linear, angular = self._object_velocity * dt
        parts = [grip, place, place - grip, fingers, rotation, linear - velocity, angular, velocity, finger_speeds]
        return np.concatenate(parts, axis=1), place

    def _judge(self, achieved: Array) -> tuple[Array, NDArray[np.float32]]:
        rewards = self.template.compute_reward(achieved, self.goals, {})
        return rewards.astype(np.float64), self.template._is_success(achieved, self.goals)

    def compute_reward(
        self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any = None
    ) -> NDArray[np.floating]:
        """Return the original's reward, [...], for goals [..., 3]."""
        achieved, desired = self._checked_pair(achieved_goal, desired_goal)
        return self.template.compute_reward(achieved, desired, info)

    def _mark_goal(self, copy: int, scene: mujoco.MjData) -> None:
        scene.site_xpos[self.model.site("target0").id] = self.goals[copy]


class FetchEnv(GoalEnv):
    """One Fetch task."""

    metadata = GoalEnv.metadata | {"render_fps": FetchVectorEnv.metadata["render_fps"]}
    batch_class = FetchVectorEnv
