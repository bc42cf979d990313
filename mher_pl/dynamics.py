"""The learned dynamics model m(s, a) of Section 4.1, as an ensemble, and how a policy walks through it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn import functional as F

from mher_pl.errors import require_int, require_positive, require_sizes
from mher_pl.networks import MLP
from mher_pl.normalizer import Normalizer
from mher_pl.parts import DynamicsModel, Learner
from mher_pl.task import Task


def virtual_path(
    learner: Learner,
    policy: Callable[[Tensor, Tensor], Tensor],
    state: Tensor,
    goal: Tensor,
    rows: Sequence[int],
    noise: float = 0.0,
    generator: torch.Generator | None = None,
    random_action_probability: float = 0.0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Walk a policy through the learner's dynamics model, and yield the actions and the states after each step.

    Args:
        learner: whose model.
        policy: gives actions [k, action] for observations [k, obs] under goals [k, goal].
        state: where the paths begin, states of the model [B, state].
        goal: under which they go on [B, goal].
        rows: for each step, how many paths take it: the first k. The others stay where they are.
        noise: standard deviation of Gaussian noise on the actions.
        generator: source of all randomness; without one the model gives its means.
        random_action_probability: chance of a uniform action in place of the policy's.
    """
    dynamics = learner.dynamics
    assert dynamics is not None  # `Part.check` has seen to it
    for k in rows:
        if k == 0:
            return
        action = policy(learner.task.observation(state[:k]), goal[:k])  # [k, action]
        if noise > 0.0:
            draws = torch.randn(action.shape, generator=generator, device=action.device)
            action = (action + noise * draws).clamp(-1.0, 1.0)
        if random_action_probability > 0.0:
            draws = torch.rand(k, action.shape[1] + 1, generator=generator, device=action.device)
            action = torch.where(draws[:, :1] < random_action_probability, 2.0 * draws[:, 1:] - 1.0, action)
        reached = (
            dynamics.predict(state[:k], action) if generator is None else dynamics.draw(state[:k], action, generator)
        )
        state = torch.cat([reached, state[k:]])  # [B, state]
        yield action, state


def virtual_ends(
    learner: Learner,
    policy: Callable[[Tensor, Tensor], Tensor],
    state: Tensor,
    goal: Tensor,
    steps: Tensor,
    longest: int,
    noise: float,
    generator: torch.Generator,
    random_action_probability: float = 0.0,
) -> Tensor:
    """Return the ends [B, state] of virtual paths of `steps` [B] steps each, of which none has more than `longest`.

    No path is followed further than its end. The other arguments are those of `virtual_path`.
    """
    steps, order = steps.sort(descending=True)
    going = (steps > torch.arange(longest, device=steps.device).unsqueeze(-1)).sum(dim=1)  # [n] rows still going
    state, rows = state[order], going.tolist()
    path = virtual_path(learner, policy, state, goal[order], rows, noise, generator, random_action_probability)
    for _, reached in path:
        state = reached
    return state[order.argsort()]


class ChangeModel(DynamicsModel):
    """A model of the normalised change of state, from the normalised state and action.

    Args:
        min_std: floor of the standard deviations of inputs and targets.
        clip: normalised inputs and targets are clipped to [-clip, clip].
    """

    def __init__(self, min_std: float, clip: float) -> None:
        super().__init__()
        require_positive("model.dynamics.min_std", min_std)
        require_positive("model.dynamics.clip", clip)
        self.min_std, self.clip = min_std, clip

    def build(self, task: Task) -> None:
        """Create statistics for the task's sizes."""
        self.task = task
        self.input_normalizer = Normalizer(task.state_size + task.action_size, self.min_std, self.clip)
        self.change_normalizer = Normalizer(task.state_size, self.min_std, self.clip)

    def observe(self, state: Tensor, action: Tensor, next_state: Tensor, reduce: Callable[[Tensor], Tensor]) -> None:
        """Fold new transitions [N, state], [N, action], [N, state] into the statistics; `reduce` sums over workers."""
        inputs = torch.cat([state, action], dim=-1)
        self.input_normalizer.update(reduce(Normalizer.sums_of(inputs)))
        self.change_normalizer.update(reduce(Normalizer.sums_of(next_state - state)))

    def examples(self, batch: TensorDict) -> tuple[Tensor, Tensor]:
        """Return normalised inputs [B, state + action] and changes of state [B, state]."""
        state = self.task.state(batch["observation"], batch["achieved_goal"])
        next_state = self.task.state(batch["next", "observation"], batch["next", "achieved_goal"])
        inputs = self.input_normalizer(torch.cat([state, batch["action"]], dim=-1))
        return inputs, self.change_normalizer(next_state - state)


class EnsembleDynamics(ChangeModel):
    """Networks that predict the change of state, s' = s + m(s, a), averaged over the members (Eq. 4).

    Args:
        members: networks in the ensemble; 1 is the paper's text, 3 its program.
        hidden_sizes: units of each hidden layer.
        lr: Adam's learning rate.
        updates_per_batch: gradient steps on each replayed batch.
        max_grad_norm: each member's gradient is scaled down to this norm.
        min_std: floor of the standard deviations of inputs and targets.
        clip: normalised inputs and targets are clipped to [-clip, clip].
    """

    def __init__(
        self,
        members: int,
        hidden_sizes: list[int],
        lr: float,
        updates_per_batch: int,
        max_grad_norm: float,
        min_std: float,
        clip: float,
    ) -> None:
        super().__init__(min_std, clip)
        require_int("model.dynamics.members", members, 1)
        require_int("model.dynamics.updates_per_batch", updates_per_batch, 0)
        require_positive("model.dynamics.lr", lr)
        require_positive("model.dynamics.max_grad_norm", max_grad_norm)
        require_sizes("model.dynamics.hidden_sizes", hidden_sizes)
        self.members, self.hidden_sizes, self.lr = members, hidden_sizes, lr
        self.updates_per_batch, self.max_grad_norm = updates_per_batch, max_grad_norm

    def build(self, task: Task) -> None:
        """Create weights and statistics for the task's sizes."""
        super().build(task)
        self.networks = MLP([task.state_size + task.action_size, *self.hidden_sizes, task.state_size], self.members)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return Adam, which clips the members' gradients before each step."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)
        optimizer.register_step_pre_hook(self.clip_gradients)
        return optimizer

    def predict(self, state: Tensor, action: Tensor) -> Tensor:
        """Return the next states [B, state]: the mean of the members."""
        inputs = self.input_normalizer(torch.cat([state, action], dim=-1))
        changes = self.networks(inputs.expand(self.members, -1, -1))  # [E, B, state]
        return state + self.change_normalizer.inverse(changes.mean(dim=0))

    def loss(self, examples: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the members' mean absolute errors on the normalised change of state, summed; their mean is logged.

        Eq. 4 has the squared error; the authors' program, and we, the absolute one. Summed over the members, so that
        each has the gradient it would have alone; what keeps them different is their initial weights.
        """
        inputs, change = examples
        predicted = self.networks(inputs.expand(self.members, -1, -1))  # [E, B, state]
        loss = self.members * F.l1_loss(predicted, change.expand_as(predicted))
        return loss, {"train/model_loss": loss / self.members}

    def clip_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Scale each member's gradient down to `max_grad_norm`."""
        parameters = optimizer.param_groups[0]["params"]  # a list, where `self.parameters()` walks the modules
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norms = [torch.linalg.vector_norm(gradient, dim=(1, 2)) for gradient in gradients]  # of [E]
        norm = torch.stack(norms).norm(dim=0)  # [E]
        scale = (self.max_grad_norm / norm).clamp_max(1.0)  # 1 also where there is no gradient
        # Private, and what torch's own clipping uses; that one knows no members.
        torch._foreach_mul_(gradients, [scale.view(-1, 1, 1)] * len(gradients))
