"""Power laws of error against compute, where there is enough to fit one.

As in Cherti et al., "Reproducible scaling laws for contrastive language-image learning", CVPR 2023: the error of fully
trained models is E = a * C^-b, where C is the compute spent on training in GMACs (multiply-accumulate operations of a
sample times samples seen, in 1e9). From 8 compute points on a floor is allowed for, E = a * C^-b + E_inf.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from laion_assets.common.quantities import counted

FloatArray = NDArray[np.float64]

MIN_POINTS: Final = 5
MIN_DECADES: Final = 1.5
MIN_SEEDS: Final = 2
MIN_POINTS_OFFSET: Final = 8
_ROUNDING: Final = 1e-9
_CONFIDENCE: Final = 0.95

POWER_LAW: Final = "power law"
POWER_LAW_WITH_OFFSET: Final = "power law with offset"

POINT_COLUMNS: Final = ("benchmark", "recipe", "seed", "arm", "compute", "error")
FIT_SCHEMA: Final[dict[str, pl.DataType]] = {
    "benchmark": pl.String(),
    "arm": pl.String(),
    "error_model": pl.String(),
    "coefficient": pl.Float64(),
    "exponent": pl.Float64(),
    "intercept": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "r_squared": pl.Float64(),
    "points": pl.Int32(),
    "recipes": pl.Int32(),
    "seeds": pl.Int32(),
    "compute_min": pl.Float64(),
    "compute_max": pl.Float64(),
    "reason": pl.String(),
}


class PointsMismatch(ValueError):
    """Points lack a column, or hold a value that no point can have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Law:
    """E = exp(log_coefficient) * C^-exponent + floor."""

    log_coefficient: float
    exponent: float
    floor: float = 0.0

    def log_error(self, log_compute: FloatArray) -> FloatArray:
        """Natural logarithm of the error at the natural logarithm of compute."""
        error: FloatArray = np.exp(self.log_coefficient - self.exponent * log_compute) + self.floor
        return np.log(error)

    def squares(self, log_compute: FloatArray, log_error: FloatArray) -> float:
        """Sum of squared residuals of the logarithms."""
        return float(((self.log_error(log_compute) - log_error) ** 2).sum())


def fit_scaling(points: pl.DataFrame, *, seed: int = 0, resamples: int = 1000) -> pl.DataFrame:
    """Fit a law to each benchmark and arm that has at least 5 compute points over 1.5 decades, from 2 seeds.

    A power law is a line through the logarithms, by least squares. From 8 distinct values of compute on, a power law
    with offset is fitted as well, by least squares of the logarithms, and taken if Akaike's criterion, corrected for
    few observations, prefers it (Hurvich, Tsai, "Regression and time series model selection in small samples", 1989).
    The interval of the exponent is a percentile bootstrap over the points, of the law that was taken; of few points it
    is a little narrow (measured: a nominal 95 % held the exponent of made laws, 9 points of 2 seeds, in 87 %).

    Args:
        points: One row for each fully trained model and benchmark: ``benchmark, recipe, seed, arm`` (what is compared:
            a line each), ``compute`` (GMACs in all, above 0) and ``error`` (0 to 1).
        seed: Of the bootstrap. The result of a benchmark and arm depends on no other.
        resamples: Of the bootstrap.

    Returns:
        A row for each benchmark and arm, ordered by both, in the columns of ``FIT_SCHEMA``. ``error_model`` is 'power
        law', 'power law with offset' or null; ``coefficient`` is a, ``exponent`` b with its 95 % interval ``ci_low`` to
        ``ci_high``, ``intercept`` E_inf (null for a power law), ``r_squared`` that of the logarithms. ``points`` counts
        distinct values of compute. Where nothing is fitted all of these but ``points`` are null, and ``reason`` says
        why.

    Raises:
        PointsMismatch: A column is missing, or a value is null or out of its range.
    """
    _check(points)
    groups = points.select("benchmark", "arm").unique().sort("benchmark", "arm")
    rows = []
    for benchmark, arm in groups.iter_rows():
        group = points.filter((pl.col("benchmark") == benchmark) & (pl.col("arm") == arm))
        rows.append((benchmark, arm, *_fit_group(group.sort("compute", "recipe", "seed", "error"), seed, resamples)))
    return pl.DataFrame(rows, schema=FIT_SCHEMA, orient="row")


def predicted_error(
    compute: FloatArray, *, coefficient: float, exponent: float, intercept: float | None = None
) -> FloatArray:
    """Error that a fitted law gives at a compute in GMACs; of the shape of ``compute``."""
    error: FloatArray = coefficient * np.asarray(compute, np.float64) ** -exponent + (intercept or 0.0)
    return error


def _check(points: pl.DataFrame) -> None:
    missing = [name for name in POINT_COLUMNS if name not in points.columns]
    if missing:
        raise PointsMismatch(f"points need the columns {', '.join(POINT_COLUMNS)}, but lack {', '.join(missing)}")
    fine = pl.col("compute").is_finite() & (pl.col("compute") > 0) & pl.col("error").is_between(0, 1)
    known = pl.all_horizontal(pl.col(POINT_COLUMNS).is_not_null())
    wrong = points.filter(~(fine & known).fill_null(False))
    if len(wrong):
        raise PointsMismatch(
            f"every point needs a compute above 0, an error of 0 to 1 and no null, but {len(wrong)} are not so, the "
            f"first being {wrong.row(0, named=True)}"
        )


def _fit_group(group: pl.DataFrame, seed: int, resamples: int) -> tuple[object, ...]:
    """The columns of ``FIT_SCHEMA`` from error_model on."""
    compute, error = (group[name].cast(pl.Float64).to_numpy() for name in ("compute", "error"))
    distinct, seeds = len(np.unique(compute)), group["seed"].n_unique()
    counts = (distinct, group["recipe"].n_unique(), seeds, float(compute.min()), float(compute.max()))
    reason = _why_not(compute, error, seeds)
    if reason is not None:
        return (*[None] * 7, *counts, reason)
    x, y = np.log(compute), np.log(error)
    fit: Callable[[FloatArray, FloatArray], _Law]
    floor: float | None
    name, law, fit, floor = POWER_LAW, _power_law(x, y), _power_law, None
    if distinct >= MIN_POINTS_OFFSET:
        offset = _power_law_with_offset(x, y, start=law)
        if _criterion(offset.squares(x, y), len(x), 3) < _criterion(law.squares(x, y), len(x), 2):
            name, law, floor = POWER_LAW_WITH_OFFSET, offset, offset.floor
            fit = partial(_power_law_with_offset, start=offset)
    total = float(((y - y.mean()) ** 2).sum())
    # Errors that are all the same are explained by a line without slope.
    r_squared = 1 - law.squares(x, y) / total if total > 0 else 1.0
    low, high = _interval(x, y, fit, seed, resamples)
    return (
        name, float(np.exp(law.log_coefficient)), law.exponent, floor, low, high, r_squared, *counts, None,
    )  # fmt: skip


def _why_not(compute: FloatArray, error: FloatArray, seeds: int) -> str | None:
    """Why nothing is fitted; None if something is."""
    distinct = len(np.unique(compute))
    decades = float(np.log10(compute.max() / compute.min()))
    if distinct < MIN_POINTS:
        return f"not fitted: {counted(distinct, 'compute point')}, {MIN_POINTS} are needed"
    if decades < MIN_DECADES - _ROUNDING:
        return f"not fitted: compute spans {decades:.2f} decades, {MIN_DECADES} are needed"
    if seeds < MIN_SEEDS:
        return f"not fitted: {seeds} seed, {MIN_SEEDS} are needed"
    if not (error > 0).all():
        return "not fitted: an error of 0 has no logarithm"
    return None


def _power_law(x: FloatArray, y: FloatArray) -> _Law:
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred * centred).sum())
    return _Law(log_coefficient=float(y.mean() - slope * x.mean()), exponent=-slope)


def _power_law_with_offset(x: FloatArray, y: FloatArray, *, start: _Law) -> _Law:
    """Least squares of the logarithms, from a law nearby, with a floor from 0 to the least error."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    # In the middle of the points the coefficient hardly depends on the exponent, which makes the problem well posed.
    middle = float(x.mean())
    least = float(np.exp(y.min()))

    def law(parameters: Any) -> _Law:
        level, exponent, floor = (float(value) for value in parameters)
        return _Law(log_coefficient=level + exponent * middle, exponent=exponent, floor=floor * least)

    def residuals(parameters: Any) -> FloatArray:
        return law(parameters).log_error(x) - y

    def slopes(parameters: Any) -> FloatArray:
        made = law(parameters)
        power = np.exp(made.log_coefficient - made.exponent * x)
        total = power + made.floor
        return np.stack([power / total, power / total * (middle - x), least / total], axis=1)

    begin = [start.log_coefficient - start.exponent * middle, start.exponent, min(start.floor / least, 0.99)]
    floors = {begin[2], *((0.3, 0.8) if start.floor == 0 else ())}
    solved = [
        least_squares(
            residuals,
            [begin[0], begin[1], max(floor, 1e-6)],
            slopes,
            bounds=([-np.inf, -np.inf, 0], [np.inf, np.inf, 1]),
        )
        for floor in sorted(floors)
    ]
    return law(min(solved, key=lambda result: float(result.cost)).x)


def _criterion(squares: float, observations: int, parameters: int) -> float:
    """Akaike's criterion of a least squares fit, corrected; the variance counts as a parameter."""
    count = parameters + 1
    # An exact fit has no logarithm; the least is far below what rounding leaves.
    likelihood = observations * np.log(max(squares / observations, 1e-24))
    return float(likelihood + 2 * count + 2 * count * (count + 1) / (observations - count - 1))


def _interval(
    x: FloatArray, y: FloatArray, fit: Callable[[FloatArray, FloatArray], _Law], seed: int, resamples: int
) -> tuple[float, float]:
    """Percentile interval of the exponent over points drawn again with replacement."""
    drawn = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    needed = 2 if fit is _power_law else 3
    # A resample of fewer distinct points than the law has parameters says nothing about it.
    usable = drawn[[len(np.unique(x[row])) >= needed for row in drawn]]
    exponents = [fit(x[row], y[row]).exponent for row in usable]
    low, high = np.quantile(exponents, ((1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2))
    return float(low), float(high)
