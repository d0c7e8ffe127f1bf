"""Gaussian designs sampled in NumPy, for references: nothing of hierjax, effects integrated out.

Given the sds and correlations, everything else of `varying_slopes` and `nested_slopes` is normal.
So coefficients of units, of markets and of the population are integrated out level by level, the
few hyperparameters take random-walk Metropolis steps on their exact marginal density, and the
coefficients are then drawn from what they are given these.

A level's likelihood is kept as exp(-x'Px/2 + h'x + c), P its precision and h its shift. Half-normal
sds are absolute values of normal numbers, which are what the steps are taken in.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import hierjax as hj

CHAINS = 4
THIN = 20  # steps of hyperparameters to a draw of everything
ROUND = 250  # steps between two looks at the width of steps
WANTED = 0.25  # of steps accepted
Draw = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Normal:
    """exp(-x'Px/2 + h'x + c), with any number of leading axes."""

    precision: np.ndarray
    shift: np.ndarray
    constant: np.ndarray

    def without(self, scale: np.ndarray) -> "Normal":
        """Integrate x ~ N(v, scale scale') out: what is left, of the same form in v."""
        inner, pull = self._inner(scale)
        spread = np.swapaxes(scale, -1, -2) @ self.precision
        towards = (np.swapaxes(scale, -1, -2) @ self.shift[..., None])[..., 0]
        solved = np.linalg.solve(inner, np.concatenate([spread, towards[..., None]], -1))
        gain = (towards * solved[..., -1]).sum(-1) - np.linalg.slogdet(inner)[1]
        return Normal(
            self.precision - pull @ solved[..., :-1],
            self.shift - (pull @ solved[..., -1:])[..., 0],
            self.constant + 0.5 * gain,
        )

    def draw(self, mean: np.ndarray, scale: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Draw x ~ N(mean, scale scale') given this likelihood, from standard normal noise."""
        inner, _ = self._inner(scale)
        residual = self.shift - (self.precision @ mean[..., None])[..., 0]
        towards = np.swapaxes(scale, -1, -2) @ residual[..., None]
        lower = np.linalg.cholesky(inner)
        place = np.linalg.solve(inner, towards)
        place += np.linalg.solve(np.swapaxes(lower, -1, -2), noise[..., None])
        return mean + (scale @ place)[..., 0]

    def _inner(self, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pull = self.precision @ scale
        return np.eye(scale.shape[-1]) + np.swapaxes(scale, -1, -2) @ pull, pull


def sums(parts: Normal, design: np.ndarray) -> Normal:
    """Likelihood of g where that of every x = design g is in `parts` (chain, x, ...)."""
    moved = np.swapaxes(design, -1, -2)
    return Normal(
        (moved @ parts.precision @ design).sum(1),
        (moved @ parts.shift[..., None])[..., 0].sum(1),
        parts.constant.sum(1),
    )


class GaussianDesign:
    """`varying_slopes` or `nested_slopes` with half-normal sds."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.size = data["x"].shape[1]
        self.nested = "parent" in data
        self.correlated = data["correlation"] is not None
        groups = np.eye(data["num_groups"])[data["group"]]
        self.squares = np.einsum("ng,ni,nj->gij", groups, data["x"], data["x"])
        self.products = np.einsum("ng,ni,n->gi", groups, data["x"], data["y"])
        self.square = float(np.sum(data["y"] ** 2))
        between = data["omega_sd"] if self.nested else np.zeros(0)
        scale = float(data["sigma_prior"].scale)  # half-normal
        self.sd_scales = np.concatenate([data["tau_sd"], between, [scale]])
        if self.nested:
            self.members = np.eye(data["num_parents"])[data["parent"]].T
            self.design = np.broadcast_to(
                np.eye(self.size), (data["num_parents"], *[self.size] * 2)
            )
        else:
            self.design = np.stack([np.kron(np.eye(self.size), row) for row in data["group_x"]])

    def start(self, generator: np.random.Generator) -> np.ndarray:
        """Positions (chain, hyperparameter): sds, then partial correlations on the real line."""
        sds = self.sd_scales * generator.uniform(0.1, 0.6, size=(CHAINS, len(self.sd_scales)))
        number = self.size * (self.size - 1) // 2 * self.correlated
        return np.concatenate([sds, 0.3 * generator.normal(size=(CHAINS, number))], -1)

    def fold(self, position: np.ndarray) -> np.ndarray:
        """Make sds positive; the density is the same on both sides of zero."""
        number = len(self.sd_scales)
        return np.concatenate([np.abs(position[:, :number]), position[:, number:]], -1)

    def cholesky(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factor of the correlations, from partial ones, and the log prior.

        Under the LKJ prior, the partial correlation of i and j given all before j is beta
        distributed on (-1, 1), both shapes eta + (k - 2 - j)/2.
        """
        lower = np.zeros((len(position), self.size, self.size))
        lower[:, 0, 0] = 1.0
        log_prior = np.zeros(len(position))
        partial = iter(np.tanh(position[:, len(self.sd_scales) :]).T)
        for i in range(1, self.size):
            left = np.ones(len(position))
            for j in range(i if self.correlated else 0):
                value = next(partial)
                shape = self.data["correlation"] + (self.size - 2 - j) / 2.0
                log_prior += shape * np.log1p(-(value**2))
                lower[:, i, j] = value * left**0.5
                left = left * (1.0 - value**2)
            lower[:, i, i] = left**0.5
        return lower, log_prior

    def parts(self, position: np.ndarray) -> Draw:
        """Hyperparameters by their names in the model."""
        sds = np.split(position[:, : len(self.sd_scales)], [self.size, len(self.sd_scales) - 1], 1)
        lower, _ = self.cholesky(position)
        found = {"tau": sds[0], "sigma": sds[2][:, 0], "L": lower}
        found["cor"] = lower @ np.swapaxes(lower, -1, -2)
        return found | ({"omega": sds[1]} if self.nested else {})

    def levels(self, parts: Draw) -> list[tuple[Normal, np.ndarray]]:
        """Likelihood and scale of the coefficients of each level, from units to the population."""
        variance = parts["sigma"][:, None] ** 2
        likelihood = Normal(
            self.squares / variance[..., None, None],
            self.products / variance[..., None],
            np.zeros((len(variance), len(self.squares))),
        )
        scale = (parts["tau"][..., None] * parts["L"])[:, None]
        found = [(likelihood, scale)]
        likelihood = likelihood.without(scale)
        if self.nested:
            likelihood = Normal(
                np.einsum("mg,cgij->cmij", self.members, likelihood.precision),
                np.einsum("mg,cgi->cmi", self.members, likelihood.shift),
                np.einsum("mg,cg->cm", self.members, likelihood.constant),
            )
            scale = (parts["omega"][..., None] * np.eye(self.size))[:, None]
            found.append((likelihood, scale))
            likelihood = likelihood.without(scale)
        return [*found, (sums(likelihood, self.design), np.diag(self.data["gamma_sd"].ravel()))]

    def log_density(self, position: np.ndarray) -> np.ndarray:
        """Of hyperparameters, everything else integrated out, up to a constant (chain,)."""
        position = self.fold(position)
        parts = self.parts(position)
        top, scale = self.levels(parts)[-1]
        last, mean = top.without(scale), self.data["gamma_mean"].ravel()
        value = last.constant + last.shift @ mean - 0.5 * (last.precision @ mean) @ mean
        value -= len(self.data["y"]) * np.log(parts["sigma"])
        value -= 0.5 * self.square / parts["sigma"] ** 2
        sds = position[:, : len(self.sd_scales)] / self.sd_scales
        return value - 0.5 * (sds**2).sum(-1) + self.cholesky(position)[1]

    def draw(self, position: np.ndarray, generator: np.random.Generator) -> Draw:
        """Draw all coefficients given hyperparameters, from the population down to units."""
        parts = self.parts(position)
        *lower, (top, scale) = self.levels(parts)
        mean = np.broadcast_to(self.data["gamma_mean"].ravel(), top.shift.shape)
        flat = top.draw(mean, scale, generator.normal(size=mean.shape))
        found = {"gamma": flat.reshape(-1, *self.data["gamma_mean"].shape)}
        mean = (self.design @ flat[:, None, :, None])[..., 0]
        for name, (likelihood, scale) in zip(
            ("mu", "beta")[-len(lower) :], lower[::-1], strict=True
        ):
            if name == "beta" and self.nested:
                mean = found["mu"][:, self.data["parent"]]
            found[name] = likelihood.draw(mean, scale, generator.normal(size=mean.shape))
        return parts | found


def sample_gaussian(
    model: "hj.Model", warmup: int, draws: int, seed: int
) -> tuple[dict[str, np.ndarray], str]:
    """Draws (chain, draw, ...) of the sites of `varying_slopes` or `nested_slopes`, and how."""
    design, generator = GaussianDesign(model.data), np.random.default_rng(seed)
    position = design.start(generator)
    density = design.log_density(position)
    width, step, seen = np.diag(0.05 * position.std(0) + 1e-3), 1.0, []
    kept: dict[str, list[np.ndarray]] = {}
    for turn in range((warmup + draws) * THIN):
        moved = design.fold(position + step * generator.normal(size=position.shape) @ width.T)
        new = design.log_density(moved)
        taken = np.log(generator.uniform(size=CHAINS)) < new - density
        position = np.where(taken[:, None], moved, position)
        density = np.where(taken, new, density)
        if turn < warmup * THIN:
            seen.append(position)
            step *= np.exp((taken.mean() - WANTED) / (1.0 + turn) ** 0.5)
            if turn % ROUND == ROUND - 1:
                width = _width(np.concatenate(seen[len(seen) // 2 :]))
        elif turn % THIN == 0:
            for site, values in design.draw(position, generator).items():
                kept.setdefault(site, []).append(values)
    words = f"Metropolis in NumPy, {CHAINS} chains, {warmup} + {draws} of {THIN} steps"
    return {site: np.stack(values, 1) for site, values in kept.items()}, words


def _width(seen: np.ndarray) -> np.ndarray:
    """Cholesky factor of the covariance of steps, a little wider than none in any direction."""
    covariance = np.atleast_2d(np.cov(seen.T)) + 1e-12 * np.eye(seen.shape[1])
    return 2.38 * seen.shape[1] ** -0.5 * np.linalg.cholesky(covariance)
