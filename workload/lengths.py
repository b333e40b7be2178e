"""Laws of lengths and pauses: lognormal, shifted gamma, mixture. Frozen, validated at construction.

Every law draws floats (`draw` many, `one` at a time; the unit is the caller's: tokens or seconds)
and knows its mean and quantiles in closed form where there is one. `whole_tokens` and
`tokens` turn draws into token counts: rounded, at least 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tokens = NDArray[np.int64]

STANDARD_NORMAL = NormalDist()
MIN_ACCEPTED_SHARE = 0.05  # guess: below this a redrawn law is a mistake and drawing it is slow


class LengthError(ValueError):
    """A law that cannot be drawn from. `field` names the parameter at fault."""

    def __init__(self, field: str, value: object, accepted: str) -> None:
        super().__init__(f"{field} = {value!r} is not accepted: {accepted}")
        self.field, self.value, self.accepted = field, value, accepted


@dataclass(frozen=True, slots=True)
class Lognormal:
    """median * exp(sigma * Z), kept inside [at_least, at_most].

    beyond: what happens to a draw outside: "redraw" rejects it (the truncated law), "clip" moves
    it to the bound (the bound then carries the tail's mass).
    """

    median: float
    sigma: float
    at_least: float = 0.0
    at_most: float = math.inf
    beyond: Literal["redraw", "clip"] = "redraw"

    def __post_init__(self) -> None:
        _check_positive("median", self.median)
        _check_not_negative("sigma", self.sigma, at_most=10.0)
        _check_bounds(self.at_least, self.at_most)
        if self.beyond not in ("redraw", "clip"):
            raise LengthError("beyond", self.beyond, 'accepted are "redraw" and "clip"')
        if self.beyond == "redraw" and self._share_inside() < MIN_ACCEPTED_SHARE:
            raise LengthError(
                "median",
                self.median,
                f"fewer than {MIN_ACCEPTED_SHARE:.0%} of the draws lie between at_least "
                f"{self.at_least:g} and at_most {self.at_most:g}",
            )

    @classmethod
    def from_mean(
        cls,
        mean: float,
        sigma: float,
        *,
        at_most: float = math.inf,
        beyond: Literal["redraw", "clip"] = "redraw",
    ) -> Lognormal:
        """The lognormal whose mean before the cut is `mean`: median = mean * exp(-sigma^2 / 2)."""
        return cls(median_of_mean(mean, sigma), sigma, at_most=at_most, beyond=beyond)

    def scaled(self, factor: float) -> Lognormal:
        """The same shape with every length multiplied by `factor`."""
        return Lognormal(
            self.median * factor,
            self.sigma,
            self.at_least * factor,
            self.at_most * factor,
            self.beyond,
        )

    def one(self, rng: np.random.Generator) -> float:
        """One draw, about half a microsecond."""
        while True:
            length = self.median * math.exp(self.sigma * rng.standard_normal())
            if self.at_least <= length <= self.at_most:
                return length
            if self.beyond == "clip":
                return min(max(length, self.at_least), self.at_most)

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """`n` draws, shape (n,)."""
        lengths: Floats = self.median * np.exp(self.sigma * rng.standard_normal(n))
        if self.beyond == "clip":
            return np.clip(lengths, self.at_least, self.at_most)
        outside = (lengths < self.at_least) | (lengths > self.at_most)
        if outside.any():
            lengths[outside] = self.draw(rng, int(outside.sum()))
        return lengths

    def one_residual(self, rng: np.random.Generator) -> float:
        """What is left of the pause a passer-by finds: a length-biased draw times a uniform one.

        Length bias of a lognormal is a shift of its log by sigma^2, under the same cut; drawn by
        inversion, because the shifted law may lie almost wholly beyond the cut.
        Meant for laws that redraw.
        """
        low, high = (_phi(z - self.sigma) for z in (self._z(self.at_least), self._z(self.at_most)))
        share = low + (high - low) * rng.random()
        z = STANDARD_NORMAL.inv_cdf(min(max(share, 1e-300), 1 - 1e-16)) + self.sigma
        length = self.median * math.exp(self.sigma * z)
        return min(max(length, self.at_least), self.at_most) * rng.random()

    @property
    def mean(self) -> float:
        """Mean after the cut, with A, B = at_least, at_most in standard units of the log:

        redraw: m * [Phi(B - sigma) - Phi(A - sigma)] / [Phi(B) - Phi(A)],
                m = median * exp(sigma^2 / 2)
        clip:   m * [Phi(B - sigma) - Phi(A - sigma)] + at_least * Phi(A) + at_most * [1 - Phi(B)]
        """
        a, b = self._z(self.at_least), self._z(self.at_most)
        uncut = self.median * math.exp(self.sigma**2 / 2)
        inside = uncut * (_phi(b - self.sigma) - _phi(a - self.sigma))
        if self.beyond == "redraw":
            return inside / self._share_inside()
        above = 0.0 if math.isinf(self.at_most) else self.at_most * (1 - _phi(b))
        return inside + self.at_least * _phi(a) + above

    def quantile(self, share: float) -> float:
        """The length below which `share` (0 < share < 1) of the draws lie."""
        if self.beyond == "redraw":
            low = _phi(self._z(self.at_least))
            share = low + share * self._share_inside()
        length = self.median * math.exp(self.sigma * STANDARD_NORMAL.inv_cdf(share))
        return min(max(length, self.at_least), self.at_most)

    def cdf(self, length: float) -> float:
        """Share of draws at or below `length`."""
        if length < self.at_least:
            return 0.0
        if length >= self.at_most:
            return 1.0
        below = _phi(self._z(length))
        if self.beyond == "clip":
            return below
        return (below - _phi(self._z(self.at_least))) / self._share_inside()

    def _z(self, length: float) -> float:
        """`length` in standard units of the log."""
        if length <= 0:
            return -math.inf
        distance = math.log(length / self.median)
        if self.sigma == 0:
            return math.inf if distance >= 0 else -math.inf
        return distance / self.sigma

    def _share_inside(self) -> float:
        if self.sigma == 0:
            return float(self.at_least <= self.median <= self.at_most)
        return _phi(self._z(self.at_most)) - _phi(self._z(self.at_least))


@dataclass(frozen=True, slots=True)
class ShiftedGamma:
    """shift + Gamma(shape, scale); draws above `at_most` are rejected and redrawn."""

    shift: float
    shape: float
    scale: float
    at_most: float = math.inf

    def __post_init__(self) -> None:
        _check_positive("shape", self.shape)
        _check_positive("scale", self.scale)
        _check_bounds(self.shift, self.at_most, low_name="shift")
        if self._share_inside() < MIN_ACCEPTED_SHARE:
            raise LengthError(
                "scale", self.scale, f"almost no draw lies below at_most {self.at_most:g}"
            )

    @property
    def at_least(self) -> float:
        return self.shift

    def scaled(self, factor: float) -> ShiftedGamma:
        """The same shape with every length multiplied by `factor`."""
        return ShiftedGamma(
            self.shift * factor, self.shape, self.scale * factor, self.at_most * factor
        )

    def one(self, rng: np.random.Generator) -> float:
        while True:
            length = self.shift + self.scale * rng.standard_gamma(self.shape)
            if length <= self.at_most:
                return length

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """`n` draws, shape (n,)."""
        lengths: Floats = self.shift + self.scale * rng.standard_gamma(self.shape, n)
        outside = lengths > self.at_most
        if outside.any():
            lengths[outside] = self.draw(rng, int(outside.sum()))
        return lengths

    @property
    def mean(self) -> float:
        """shift + shape * scale * P(shape + 1, y) / P(shape, y), y = (at_most - shift) / scale,
        P the regularised lower incomplete gamma function."""
        if math.isinf(self.at_most):
            return self.shift + self.shape * self.scale
        y = (self.at_most - self.shift) / self.scale
        cut = _lower_gamma(self.shape + 1, y) / _lower_gamma(self.shape, y)
        return self.shift + self.shape * self.scale * cut

    def _share_inside(self) -> float:
        if math.isinf(self.at_most):
            return 1.0
        return _lower_gamma(self.shape, (self.at_most - self.shift) / self.scale)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Each draw comes from one of `parts`, chosen with its weight (the weights sum to 1)."""

    weights: tuple[float, ...]
    parts: tuple[Lognormal, ...]

    def __post_init__(self) -> None:
        if not self.parts or len(self.weights) != len(self.parts):
            raise LengthError("weights", self.weights, "one weight for each of one or more parts")
        for weight in self.weights:
            _check_positive("weights", weight)
        if abs(sum(self.weights) - 1) > 1e-9:
            raise LengthError("weights", self.weights, "weights must sum to 1")

    def scaled(self, factor: float) -> Mixture:
        """The same shape with every length multiplied by `factor`."""
        return Mixture(self.weights, tuple(part.scaled(factor) for part in self.parts))

    def one(self, rng: np.random.Generator) -> float:
        pick = rng.random()
        for weight, part in zip(self.weights, self.parts, strict=True):
            pick -= weight
            if pick < 0:
                return part.one(rng)
        return self.parts[-1].one(rng)  # the weights fell short of 1 by rounding

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """`n` draws, shape (n,)."""
        part_of = rng.choice(len(self.parts), size=n, p=self.weights)
        lengths = np.empty(n)
        for index, part in enumerate(self.parts):
            mine = part_of == index
            lengths[mine] = part.draw(rng, int(mine.sum()))
        return lengths

    @property
    def mean(self) -> float:
        """Weighted mean of the parts' means."""
        return sum(w * part.mean for w, part in zip(self.weights, self.parts, strict=True))

    def cdf(self, length: float) -> float:
        """Share of draws at or below `length`."""
        return sum(w * part.cdf(length) for w, part in zip(self.weights, self.parts, strict=True))

    def quantile(self, share: float) -> float:
        """The length below which `share` (0 < share < 1) of the draws lie, by bisection."""
        quantiles = [part.quantile(share) for part in self.parts]
        low, high = min(quantiles), max(quantiles)
        while high - low > 1e-9 * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self.cdf(middle) < share else (low, middle)
        return high


Law = Lognormal | ShiftedGamma | Mixture


def whole_tokens(length: float) -> int:
    """A drawn length as a token count: rounded, at least 1."""
    return max(1, round(length))


def tokens(law: Law, rng: np.random.Generator, n: int) -> Tokens:
    """`n` token counts from `law`: rounded, at least 1, shape (n,)."""
    whole: Tokens = np.maximum(1, np.rint(law.draw(rng, n))).astype(np.int64)
    return whole


def median_of_mean(mean: float, sigma: float) -> float:
    """Median of a lognormal with this mean: mean * exp(-sigma^2 / 2)."""
    return mean * math.exp(-(sigma**2) / 2)


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise LengthError(name, value, "a finite number above 0")


def _check_not_negative(name: str, value: float, at_most: float = math.inf) -> None:
    if not (math.isfinite(value) and 0 <= value <= at_most):
        limit = "" if math.isinf(at_most) else f" and {at_most:g} at most"
        raise LengthError(name, value, f"a finite number of 0 or more{limit}")


def _check_bounds(at_least: float, at_most: float, low_name: str = "at_least") -> None:
    _check_not_negative(low_name, at_least)
    if math.isnan(at_most) or at_most <= at_least:
        raise LengthError("at_most", at_most, f"a number above {low_name} ({at_least:g}), or inf")


def _phi(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _lower_gamma(shape: float, y: float) -> float:
    """Regularised lower incomplete gamma P(shape, y), by its power series:

    y^shape * exp(-y) * sum over k of y^k / Gamma(shape + k + 1)
    """
    if y > shape + 40 * math.sqrt(shape) + 100:
        return 1.0
    term = total = math.exp(shape * math.log(y) - y - math.lgamma(shape + 1))
    k = 1
    while term > 1e-17 * total or k < y:
        term *= y / (shape + k)
        total += term
        k += 1
    return total
