"""Parses the shares, durations, sizes and speeds that users write."""

from __future__ import annotations

import re

MEASURED = "measured"
SPEEDS = "a positive number for each device, such as 1,0.5, or measured"


def check_cuts(cuts: list[str]) -> str:
    """Says in words what is wrong with cuts of stages; returns an empty text if nothing is."""
    # A file may hold anything.
    wrong = [str(text) for text in cuts
             if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)+", str(text))]
    return "" if not wrong else f"units of each stage such as 3,1, not {wrong[0]}"


def parse_share(text: str) -> float:
    """Parses ``3%`` or ``0.03`` as 0.03; raises ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*(%?)\s*", text)
    if not match:
        raise ValueError("a share such as 3% or 0.03")
    return float(match[1]) / (100 if match[2] else 1)


def parse_duration(text: str) -> float:
    """Parses ``90s``, ``20m``, ``1.5h`` or plain seconds; returns seconds or raises ValueError."""
    match = re.fullmatch(r"\s*(\d*\.?\d+)\s*([smh]?)\s*", text)
    if not match:
        raise ValueError("a duration such as 90s, 20m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_bytes(text: str) -> int:
    """Parses ``1048576``, ``512KiB`` or ``1.5GiB``; returns bytes or raises ValueError."""
    from pydantic import ByteSize, TypeAdapter, ValidationError

    try:
        size = int(TypeAdapter(ByteSize).validate_python(text.strip()))
    except ValidationError:
        size = 0
    if size < 1:
        raise ValueError("bytes, or a number of KiB, MiB or GiB such as 16MiB")
    return size


def parse_speeds(text: str) -> str | list[float]:
    """Parses ``measured``, or a relative speed for each device such as ``1,0.5``.

    Raises:
        ValueError: If the text is neither.
    """
    if text == MEASURED:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(SPEEDS) from None


def check_speeds(speeds: str | list[float]) -> str:
    """Says in words what is wrong with speeds; returns an empty text if nothing is."""
    if isinstance(speeds, list) and all(
        isinstance(speed, int | float) and 0 < speed < float("inf") for speed in speeds
    ):
        return ""
    return "" if speeds == MEASURED else SPEEDS
