"""How often the intervals are wrong, on launches whose noise is planted.

    python -m tests.accuracy simulation [RUNS]

Each block multiplies both cases by the same drift; each launch has noise of its own, whose shape
is named: log-normal; slow outliers in a tenth of launches; Student's t with three degrees of
freedom; one-sided; two modes. A launch's figure is the median of autocorrelated steps around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from suite.analysis.doubts import FEW_LAUNCHES
from suite.analysis.statistics import Interval, median_interval, ratio_interval

NOISES = ("log-normal", "outliers", "heavy tails", "one-sided", "two modes")
STEPS, STEP_NOISE, AUTOCORRELATION = 20, 0.05, 0.6
COUNTS = (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 30)


def launches(
    noise: str, shape: tuple[int, int], deviation: float, generator: np.random.Generator
) -> np.ndarray:
    """Logarithm of (runs, launches) medians of steps; ``deviation`` is that between launches."""
    level = _between(noise, shape, deviation, generator)
    innovations = generator.standard_normal((*shape, STEPS + 20))
    steps = lfilter([math.sqrt(1 - AUTOCORRELATION**2)], [1, -AUTOCORRELATION], innovations)
    return level + np.median(STEP_NOISE * steps[..., 20:], axis=-1)


def _between(
    noise: str, shape: tuple[int, int], deviation: float, generator: np.random.Generator
) -> np.ndarray:
    normal = generator.normal(0, deviation, shape)
    if noise == "outliers":
        return normal + (generator.random(shape) < 0.1) * generator.exponential(0.2, shape)
    if noise == "heavy tails":
        return deviation / math.sqrt(3) * generator.standard_t(3, shape)
    if noise == "one-sided":
        return generator.exponential(deviation, shape)
    if noise == "two modes":
        return normal / 3 + (generator.random(shape) < 0.3) * 2 * deviation
    return normal


def drift(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Logarithm of what a block does to all its cases: a slope and a random walk."""
    walk = np.cumsum(generator.normal(0, 0.03, shape), axis=1)
    return walk + np.linspace(0, 0.1, shape[1])


def false_differences(noise: str, count: int, deviation: float = 0.03, runs: int = 2000) -> float:
    """Share of comparisons of a case with itself whose interval excludes 1."""
    generator = np.random.default_rng(count)
    shape = (runs, count)
    common = drift(shape, generator)
    a, b = (np.exp(common + launches(noise, shape, deviation, generator)) for _ in range(2))
    found = [ratio_interval(x, y) for x, y in zip(a, b, strict=True)]
    return float(np.mean([excludes_one(one) for one in found]))


def missed_medians(noise: str, count: int, deviation: float = 0.03, runs: int = 1000) -> float:
    """Share of intervals of a case's own step time that do not hold the true median."""
    generator = np.random.default_rng(count)
    truth = float(np.median(launches(noise, (1, 200_000), deviation, generator)))
    samples = np.exp(launches(noise, (runs, count), deviation, generator))
    found = [median_interval(sample) for sample in samples]
    return float(np.mean([not one.low <= math.exp(truth) <= one.high for one in found]))


@dataclass(frozen=True)
class Ending:
    """Share of comparisons called different, and the mean launches a case."""

    different: float
    launches: float


def under_the_rule(
    noise: str, deviation: float, effect: float, precision: float = 0.03, most: int = 30,
    least: int = FEW_LAUNCHES, runs: int = 500,
) -> Ending:
    """A case ``effect`` times as slow as its base, both launched until all intervals are narrow."""
    generator = np.random.default_rng([NOISES.index(noise), round(1000 * deviation)])
    shape = (runs, most)
    common = drift(shape, generator) * 0.2
    base = np.exp(common + launches(noise, shape, deviation, generator))
    case = effect * np.exp(common + launches(noise, shape, deviation, generator))
    ended = [_ending(a, b, precision, least) for a, b in zip(base, case, strict=True)]
    different = float(np.mean([excludes_one(interval) for interval, _ in ended]))
    return Ending(different, float(np.mean([count for _, count in ended])))


def _ending(
    base: np.ndarray, case: np.ndarray, precision: float, least: int
) -> tuple[Interval, int]:
    for count in range(least, len(base) + 1):
        ratio = ratio_interval(base[:count], case[:count])
        if ratio.half_width <= precision and all(
            median_interval(one[:count]).half_width <= precision for one in (base, case)
        ):
            break
    return ratio, count


def excludes_one(found: Interval) -> bool:
    return found.low > 1 or found.high < 1


def report(runs: int = 1000) -> None:
    print("A case against itself, per cent called different (asked: 5)")
    _table(lambda noise, count: 100 * false_differences(noise, count, runs=runs))
    print("True median outside its interval, per cent (asked: 5)")
    _table(lambda noise, count: 100 * missed_medians(noise, count, runs=runs))
    print("Until all intervals are within 3 %: equal and 5 % slower called different, launches")
    for noise in NOISES:
        for deviation in (0.01, 0.02, 0.03, 0.05):
            same, slower = (under_the_rule(noise, deviation, effect, runs=runs // 2)
                            for effect in (1.0, 1.05))
            print(f"{noise:12} {deviation:4.0%} {same.different:6.1%} {slower.different:7.1%}"
                  f" {same.launches:5.1f}")


def _table(value: object) -> None:
    print(" " * 12 + "".join(f"{count:6d}" for count in COUNTS))
    for noise in NOISES:
        cells = (value(noise, count) for count in COUNTS)  # type: ignore[operator]
        print(f"{noise:12}" + "".join(f"{cell:6.1f}" for cell in cells))
