"""MEP: Maximum Entropy-based Prioritization (Zhao et al. 2019)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from mher_pl.errors import require_int, require_probability
from mher_pl.sampler.base import Sampler

if TYPE_CHECKING:
    from sklearn.mixture import BayesianGaussianMixture


class MaximumEntropy(Sampler):
    """Replay an episode the more often, the less likely its path of achieved goals is among the stored ones.

    A variational Gaussian mixture gives the density of whole paths, as vectors of their (T + 1) x goal entries. An
    episode's chance is proportional to the rank of its complementary density, 1 for the likeliest path up to N; the
    authors' program counts from 0, so that the likeliest is never replayed.

    A new episode is rated by the mixture as it is. The mixture is fitted again after `refit_every` new episodes, or
    after a share of all so far where that is more, which bounds the cost per episode: a fit takes 0.1 to 0.2 s with
    the few hundred episodes of the paper's protocol, and grows with their number. Before the first fit all episodes are
    alike.

    Args:
        components: Gaussians in the mixture.
        refit_every: new episodes between fits, at least.
        refit_share: new episodes between fits, at least, as a share of all so far.
    """

    def __init__(self, components: int, refit_every: int, refit_share: float) -> None:
        require_int("data.sampler.components", components, 1)
        require_int("data.sampler.refit_every", refit_every, 1)
        require_probability("data.sampler.refit_share", refit_share)
        self.components, self.refit_every, self.refit_share = components, refit_every, refit_share
        self.mixture: BayesianGaussianMixture | None = None
        self.seen = self.seen_at_fit = 0  # episodes
        self.log_density = np.zeros(0)  # [N] of the stored episodes
        self.weights = torch.zeros(0)  # [N] their chances, not normalised

    def update(self, episodes: TensorDict, newest: int) -> None:
        """Rate the newest episode, or all of them with a new fit, and rank them."""
        self.seen += 1
        due = self.seen - self.seen_at_fit >= max(self.refit_every, int(self.refit_share * self.seen))
        if due and len(episodes) >= max(2, self.components):  # scikit-learn fits no mixture to a single path
            self.fit(paths(episodes["achieved_goal"]))
        else:
            self.rate(episodes, newest)
        self.rank()

    def fit(self, paths: np.ndarray) -> None:
        """Fit the mixture to the paths [N, (T + 1) x goal] of all stored episodes and rate them."""
        from sklearn.exceptions import ConvergenceWarning

        # The number of episodes seeds the fit: the same in a resumed run.
        self.mixture = self._new_mixture(random_state=self.seen)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.mixture.fit(paths)
        self.log_density = self.mixture.score_samples(paths)
        self.seen_at_fit = self.seen

    def rate(self, episodes: TensorDict, newest: int) -> None:
        """Rate the newest episode with the mixture as it is."""
        self.log_density = np.append(self.log_density, np.zeros(len(episodes) - len(self.log_density)))
        if self.mixture is not None:
            path = paths(episodes["achieved_goal"][newest : newest + 1])
            self.log_density[newest] = self.mixture.score_samples(path)[0]

    def rank(self) -> None:
        """Turn densities into weights: the rank from 1, the likeliest, to N, the least likely."""
        self.weights = torch.ones(len(self.log_density))
        if self.mixture is not None:
            likeliest_first = torch.as_tensor(np.argsort(-self.log_density, kind="stable"))
            self.weights[likeliest_first] = torch.arange(1.0, len(self.log_density) + 1)

    def __call__(self, episodes: int, size: int, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
        """Draw indices [size] from 0 ... episodes-1 with the episodes' weights, whatever their lengths."""
        return torch.multinomial(self.weights, size, replacement=True, generator=generator)

    def worker_state(self) -> dict[str, Any]:
        """Return counters, densities and the fitted mixture, the latter as its arrays by name."""
        fitted = {} if self.mixture is None else vars(self.mixture)
        arrays = {name: value for name, value in fitted.items() if isinstance(value, np.ndarray)}
        return {
            "seen": self.seen,
            "seen_at_fit": self.seen_at_fit,
            "log_density": torch.as_tensor(self.log_density),
            "mixture": {name: torch.as_tensor(value) for name, value in arrays.items()},
        }

    def load_worker_state(self, state: dict[str, Any]) -> None:
        """Restore what `worker_state` returned."""
        self.seen, self.seen_at_fit = state["seen"], state["seen_at_fit"]
        self.log_density = state["log_density"].numpy()
        if state["mixture"]:
            self.mixture = self._new_mixture()
            for name, value in state["mixture"].items():
                setattr(self.mixture, name, value.numpy())
            self.mixture.n_features_in_ = self.mixture.means_.shape[1]
        self.rank()

    def _new_mixture(self, random_state: int | None = None) -> BayesianGaussianMixture:
        # scikit-learn takes most of a second to import: only where a mixture is fitted.
        from sklearn.mixture import BayesianGaussianMixture

        # A symmetric Dirichlet prior, as the authors' program has; scikit-learn's default is another.
        return BayesianGaussianMixture(
            n_components=self.components,
            weight_concentration_prior_type="dirichlet_distribution",
            random_state=random_state,
        )


def paths(achieved_goal: Tensor) -> np.ndarray:
    """Flatten paths of achieved goals [N, T+1, goal] to vectors [N, (T+1) x goal] in double precision."""
    return achieved_goal.flatten(1).double().numpy()
