"""How a figure is written for a reader, by one set of rules for terminal, page and Markdown.

The page formats its figures in JavaScript. It therefore gets ``TABLE``, which is plain data, and
``suite/report/page/format.js`` applies the same rules to it; a test compares the results of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

DIGITS = 3  # significant digits that a reader sees
KEPT_DIGITS = 5  # significant digits of a figure in the page's data
# A smaller number without a unit is written with a power of ten.
SMALLEST_PLAIN = 0.001
# A ratio from here on is written without decimals.
WHOLE_TIMES_FROM = 100
UNITS: dict[str, list[tuple[float, str]]] = {
    "seconds": [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"), (1e-12, "ps")],
    "bytes": [(1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")],
    "rate": [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")],
}
# The rules in the form that the page gets.
TABLE: dict[str, Any] = {
    "digits": DIGITS, "keptDigits": KEPT_DIGITS, "smallestPlain": SMALLEST_PLAIN,
    "wholeTimesFrom": WHOLE_TIMES_FROM, "units": UNITS,
}
_SHOWN = Context(prec=DIGITS, rounding=ROUND_HALF_UP)


def to_digits(value: float) -> Decimal:
    """Rounds to the digits shown, halves away from zero, as JavaScript's ``toPrecision`` does."""
    return _SHOWN.create_decimal_from_float(float(value))


def kept(value: float) -> float:
    """Rounds as the page's data does; every text starts from this, so both agree."""
    return float(f"{value:.{KEPT_DIGITS}g}")


def _fixed(value: float, places: int) -> str:
    """Writes ``places`` decimals, halves rounded away from zero, with commas between thousands."""
    return f"{Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,}"


def duration(seconds: float) -> str:
    """Writes a time as a person says it: ``90 s``, ``14 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def number(value: float) -> str:
    """Writes three significant digits: ``1.23``, ``0.0012``, ``3.1e-5``; whole from 1,000 on."""
    rounded = to_digits(kept(value))
    size = abs(float(rounded))
    if size == 0:
        return "0"
    if size >= 1000:
        return _fixed(kept(value), 0)
    if size < SMALLEST_PLAIN:
        digits, exponent = f"{rounded.normalize():e}".split("e")
        return f"{digits}e{int(exponent)}"
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def unit_of(kind: str, value: float) -> tuple[float, str]:
    """Picks the largest unit in which the rounded value is at least 1, otherwise the smallest unit.

    Args:
        kind: ``seconds``, ``bytes`` or ``rate``.
        value: The value in seconds, bytes or 1/s; for 0 the unit of size 1 is picked.

    Returns:
        How many seconds, bytes or 1/s the unit is, and its name.
    """
    units = UNITS[kind]
    if value == 0:
        return next(unit for unit in units if unit[0] == 1.0)
    return next((unit for unit in units if abs(to_digits(kept(value) / unit[0])) >= 1), units[-1])


def _with_unit(kind: str) -> Callable[[Any], str]:
    def show(value: Any) -> str:
        size, unit = unit_of(kind, value)
        return f"{number(kept(value) / size)} {unit}"

    return show


seconds = _with_unit("seconds")
size_bytes = _with_unit("bytes")
rate = _with_unit("rate")


def times(value: Any) -> str:
    """Writes a ratio as ``1.95×``, or as ``123×`` from a hundred on."""
    exact = kept(value)
    few = abs(Decimal(exact).quantize(Decimal("0.01"), ROUND_HALF_UP)) < WHOLE_TIMES_FROM
    return f"{_fixed(exact, 2 if few else 0)}×"


def ratio(value: Any) -> str:
    """Writes a number without a unit: a count, or a share of something that is named beside it."""
    return number(value)


def percent(value: Any) -> str:
    """Writes a share in per cent with one decimal: 0.123 becomes ``12.3 %``."""
    return f"{_fixed(100 * kept(value), 1)} %"


def alpha(value: Any) -> str:
    """Writes seconds per byte."""
    return f"{seconds(value)}/B"


# Name of a format -> the function that writes a value; it is not called for missing values.
FORMATS: dict[str, Callable[[Any], str]] = {
    "text": str, "seconds": seconds, "bytes": size_bytes, "rate": rate, "times": times,
    "ratio": ratio, "percent": percent, "alpha": alpha,
}


def bounds(low: float | None, high: float | None, places: int = 2) -> str:
    """Writes `` [1.80, 1.90]``, to stand behind an estimate; empty without an interval."""
    if low is None or high is None or math.isnan(low):
        return ""
    return f" [{_bound(low, places)}, {_bound(high, places)}]"


def _bound(value: float, places: int) -> str:
    """Writes an end of an interval, without digits if it is too large for them to say anything."""
    most = 10 ** (4 - places)
    return f"{value:.{places}f}" if value <= most else f">{most}"


def seconds_interval(value: float, low: float | None, high: float | None) -> str:
    """Writes ``164 ms [161, 167]``, with the bounds in the unit of the value.

    Args:
        value: The estimate in seconds.
        low: Lower end of its interval in seconds; None or NaN if there is no interval, in which
            case the text has no bounds.
        high: Upper end of its interval in seconds; None if there is none.
    """
    if low is None or high is None or math.isnan(low):
        return seconds(value)
    size, _ = unit_of("seconds", value)
    bounds = ", ".join(number(kept(bound) / size) for bound in (low, high))
    return f"{seconds(value)} [{bounds}]"
