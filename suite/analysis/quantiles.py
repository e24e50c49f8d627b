"""Quantiles of Student's t and of chi-square with a whole number of degrees of freedom.

A report of a few launches needs these two numbers of SciPy, whose import takes a fifth of the
report's time. With whole degrees both distributions are finite sums (Abramowitz & Stegun 1972,
26.7.3, 26.7.4, 26.4.4 and 26.4.5), which Newton's method inverts to the last bits of a float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

# Above it sums would lose digits, and SciPy is asked.
MOST_DEGREES = 200


@lru_cache(maxsize=1024)
def student_t(degrees: float, level: float) -> float:
    """Returns the t that holds ``level`` of Student's distribution between its two signs.

    Args:
        degrees: Degrees of freedom. Of a fraction, as Welch's test has them, SciPy is asked.
        level: Probability of the interval from -t to t, between 0 and 1.
    """
    if degrees != int(degrees) or degrees > MOST_DEGREES:
        from scipy import special

        return float(special.stdtrit(degrees, (1 + level) / 2))
    whole, root = int(degrees), math.sqrt(degrees)
    # Solved for the angle whose tangent is t / √degrees, in which the probability is concave:
    # steps that begin at the normal quantile, which is smaller, never pass the solution.
    peak = 2 * math.exp(math.lgamma((whole + 1) / 2) - math.lgamma(whole / 2)) / math.sqrt(math.pi)
    first = math.atan(NormalDist().inv_cdf((1 + level) / 2) / root)
    return root * math.tan(_solved(
        lambda angle: level - _within(angle, whole),
        lambda angle: peak * math.cos(angle) ** (whole - 1), first))


def _within(angle: float, degrees: int) -> float:
    """P(-t <= T <= t), where t is √degrees times the tangent of the angle."""
    odd = degrees % 2
    cosine = math.cos(angle)
    term, total = (cosine if odd else 1.0), 0.0
    for number in range(1 + odd, degrees, 2):
        total += term
        term *= cosine * cosine * number / (number + 1)
    part = math.sin(angle) * total
    return 2 / math.pi * (angle + part) if odd else part


@lru_cache(maxsize=256)
def chi_square_median(degrees: int) -> float:
    """Returns the median of chi-square with a whole number of degrees of freedom, at least 1."""
    if degrees > MOST_DEGREES:
        from scipy import special

        return 2 * float(special.gammaincinv(degrees / 2, 0.5))
    # Half the median, for which Wilson and Hilferty's cube is a good first guess.
    first = degrees / 2 * (1 - 2 / (9 * degrees)) ** 3
    return 2 * _solved(lambda half: _beyond(half, degrees) - 0.5,
                       lambda half: math.exp((degrees / 2 - 1) * math.log(half) - half
                                             - math.lgamma(degrees / 2)), first)


def _beyond(half: float, degrees: int) -> float:
    """P(chi-square > 2 half)."""
    odd = degrees % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    term = math.exp(-half) * (math.sqrt(half) / math.gamma(1.5) if odd else 1.0)
    for number in range(degrees // 2):
        total += term
        term *= half / (number + 1 + odd / 2)
    return total


def _solved(
    missing: Callable[[float], float], slope: Callable[[float], float], first: float
) -> float:
    """Newton's method for a rising function, of which ``missing`` tells how much is missing.

    Steps shrink until nothing but rounding is left, which makes two that do not.
    """
    found, least, longer = first, math.inf, 0
    while longer < 2:
        step = missing(found) / slope(found)
        longer += abs(step) >= least
        found, least = found + step, min(least, abs(step))
    return found
