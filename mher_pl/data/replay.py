"""Replay of whole episodes."""

import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

from mher_pl.errors import UserError, require, require_int
from mher_pl.parts import require_like
from mher_pl.sampler import Sampler
from mher_pl.streams import Stream, go_on, stream_generator


class EpisodeReplay:
    """The last `capacity` transitions as whole episodes in a TorchRL replay buffer; one item is one episode.

    An item holds `observation` [T+1, obs], `achieved_goal` [T+1, goal], `desired_goal` [T, goal], `action` [T, action],
    `length` [], how many of its T steps were taken, the rest being padding, and `failed` [], whether it was terminated
    away from its goal. Every state is stored once, so that a transition costs little more than the bytes of its fields.

    `episodes` are the stored ones [N], oldest first only until the replay has wrapped; a view, not a copy.

    Sampling is pure: it returns a batch and changes nothing but the random generator.
    """

    def __init__(self, capacity: int, horizon: int, sampler: Sampler, seed: int) -> None:
        require_int("data.capacity", capacity, horizon)
        self.capacity, self.horizon = capacity, horizon
        self.sampler = sampler
        self.buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(capacity // horizon))
        self.generator = stream_generator(seed, Stream.REPLAY)
        self.episodes = TensorDict(batch_size=[0])
        self.newest = -1  # index of the episode that was stored last
        self.whole = True  # whether every stored episode has all its T steps

    def __len__(self) -> int:
        """Return the number of stored episodes."""
        return len(self.buffer)

    def add(self, episode: TensorDict) -> None:
        """Store one episode; the oldest makes room when the replay is full."""
        self.newest = int(self.buffer.add(episode))
        self._view_episodes()
        self.sampler.update(self.episodes, self.newest)

    def _view_episodes(self) -> None:
        # Once an episode, not once a batch.
        self.episodes = self.buffer.storage[: len(self)]
        self.whole = bool((self.episodes["length"] == self.horizon).all())

    def sample(self, size: int, path_length: int = 1) -> TensorDict:
        """Sample `size` transitions [B]: the sampler's choice of episodes, then uniform time steps.

        With a path length above 1 they are as many paths [B, path_length] of consecutive transitions.

        Raises:
            UserError: an episode is drawn that is shorter than a path.
        """
        if self.whole:
            episode = self._draw(size)  # [B]
            step = torch.randint(self.horizon - path_length + 1, (size,), generator=self.generator)  # [B]
        else:
            starts = self.episodes["length"] - path_length + 1  # [N] steps that a path can begin with
            if not (starts > 0).any():
                raise UserError(f"model.path_length is {path_length}; allowed: the length of some stored episode")
            episode = self._draw(size, starts.clamp_min(0))
            starts = starts[episode]
            if (starts < 1).any():
                raise UserError(
                    f"data.sampler is {type(self.sampler).__name__}, which draws episodes shorter than "
                    f"model.path_length, {path_length}; allowed: mher_pl.sampler.Uniform"
                )
            step = (torch.rand(size, generator=self.generator, dtype=torch.float64) * starts).long()
        if path_length > 1:
            episode = episode.unsqueeze(1).expand(size, path_length)
            step = step.unsqueeze(1) + torch.arange(path_length)
        return self.transitions(episode, step, self.generator)

    def _draw(self, size: int, *lengths: Tensor) -> Tensor:
        """Return the episodes [size] that the sampler draws.

        Raises:
            UserError: they are none that are stored.
        """
        drawn = self.sampler(len(self), size, self.generator, *lengths)
        require_like("data.sampler", self.sampler, "episodes", drawn, torch.empty(size, dtype=torch.long))
        lowest, highest = drawn.aminmax()
        if lowest < 0 or highest >= len(self):
            place = int(lowest if lowest < 0 else highest)
            name, allowed = type(self.sampler).__name__, f"from 0 to {len(self) - 1}"
            raise UserError(f"data.sampler is {name}, which draws episode {place}; allowed: {allowed}")
        return drawn

    def transitions(self, episode: Tensor, step: Tensor, generator: torch.Generator) -> TensorDict:
        """Gather the transitions at (episode [...], step [...]), each with a goal achieved later in its own episode.

        `hindsight_goal` is the achieved goal, and `hindsight_observation` the observation, of a state drawn uniformly
        from t+1 ... T: the state after the action counts, the one before it never does.
        """
        batch = self.gather(episode, step)
        later = step + 1 + (torch.rand(step.shape, generator=generator) * batch["steps_left"]).long()
        batch["hindsight_goal"] = self.episodes["achieved_goal"][episode, later]
        batch["hindsight_observation"] = self.episodes["observation"][episode, later]
        return batch

    def all_transitions(self) -> TensorDict:
        """Return all stored transitions [N], without hindsight goals."""
        episode, step = (torch.arange(self.horizon) < self.episodes["length"].unsqueeze(1)).nonzero(as_tuple=True)
        return self.gather(episode, step)

    def gather(self, episode: Tensor, step: Tensor) -> TensorDict:
        """Gather the transitions at (episode [...], step [...]).

        Step t of T leads from state t to state t+1; T - t of them are left, itself included. `failed` tells the steps
        with which episodes were terminated away from their goals.
        """
        data = self.episodes
        length = data["length"][episode]  # [...]
        observation, achieved_goal = data["observation"], data["achieved_goal"]
        return TensorDict(
            {
                "observation": observation[episode, step],
                "action": data["action"][episode, step],
                "achieved_goal": achieved_goal[episode, step],
                "desired_goal": data["desired_goal"][episode, step],
                "steps_left": length - step,
                "failed": data["failed"][episode] & (step == length - 1),
                "next": {
                    "observation": observation[episode, step + 1],
                    "achieved_goal": achieved_goal[episode, step + 1],
                },
            },
            batch_size=step.shape,
            device=observation.device,  # a batch that knows where it is moves there in no time
        )

    def last_episode(self, generator: torch.Generator) -> TensorDict:
        """Return the newest episode as a batch of its transitions, in order."""
        step = torch.arange(int(self.episodes["length"][self.newest]))
        return self.transitions(torch.full_like(step, self.newest), step, generator)

    def state_dict(self) -> dict:
        """Return the filled part of the storage, the write position and the generator as plain data."""
        return {
            "capacity": self.capacity,
            "horizon": self.horizon,
            "episodes": {key: value.clone() for key, value in self.episodes.items()},
            "cursor": (self.newest + 1) % self.buffer.storage.max_size,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned.

        Raises:
            UserError: the capacity or the episodes' length was another.
        """
        require(
            self.capacity == state["capacity"],
            "data.capacity",
            self.capacity,
            f"{state['capacity']}, as in the checkpoint",
        )
        require(
            self.horizon == state["horizon"],
            "max_episode_steps in data.env_kwargs",
            self.horizon,
            f"{state['horizon']}, as in the checkpoint",
        )
        episodes = state["episodes"]
        if episodes:
            self.buffer.extend(TensorDict(episodes, batch_size=[len(episodes["action"])]))
            self.newest = (state["cursor"] - 1) % self.buffer.storage.max_size
            self.buffer.writer.load_state_dict({"_cursor": state["cursor"]})
            self._view_episodes()
        go_on(self.generator, state["generator"])
