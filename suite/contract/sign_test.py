"""The sign test, by which order statistics bound a median."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate


@lru_cache(maxsize=256)
def sign_critical(count: int, level: float) -> int:
    """Largest c with P(S <= c) <= (1 - level) / 2, S the heads of ``count`` tosses.

    The c smallest and c largest of a sample lie outside the interval of its median.

    Args:
        count: Size of the sample.
        level: Level of the interval.

    Returns:
        c, or -1 if the sample is too small for the level.
    """
    chances: list[float] = [math.comb(count, heads) / 2**count for heads in range(count)]
    return sum(below <= (1 - level) / 2 for below in accumulate(chances)) - 1
