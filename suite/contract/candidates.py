"""The ways that ``--strategy auto`` looked at, and what became of each before anything ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from suite.contract.case import NO_RECOMPUTE, STATIC
from suite.contract.registry import label

# Run; cannot run here; does not fit into memory; predicted not to be the fastest.
Fate = Literal["run", "excluded", "too large", "slower"]


@dataclass(frozen=True)
class Candidate:
    """A way of splitting that was enumerated.

    Attributes:
        question: What it is a way for: framework, model, batch and devices.
        case_id: The case that would run it.
        way: The way in words.
        fate: What became of it before anything ran.
        reason: Why, in words.
        predicted_s: Predicted seconds of a step; None without a prediction.
        low_s: Lower end of the prediction's 90 % interval.
        high_s: Upper end.
        peak_bytes: Predicted memory of the fullest device.
    """

    question: str
    case_id: str
    way: str
    fate: Fate
    reason: str = ""
    predicted_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    peak_bytes: float | None = None


class Asked(Protocol):
    """What both a case and a row say: the question that they answer, and their way to split."""

    @property
    def framework(self) -> str: ...  # noqa: D102
    @property
    def engine(self) -> str: ...  # noqa: D102
    @property
    def workload(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> str: ...  # noqa: D102
    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def dtype(self) -> str: ...  # noqa: D102
    @property
    def mode(self) -> str: ...  # noqa: D102
    @property
    def strategy(self) -> str: ...  # noqa: D102
    @property
    def variant(self) -> str: ...  # noqa: D102
    @property
    def accumulate(self) -> int: ...  # noqa: D102
    @property
    def recompute(self) -> str: ...  # noqa: D102
    @property
    def padded(self) -> int: ...  # noqa: D102
    @property
    def balance(self) -> str: ...  # noqa: D102


def question(asked: Asked, devices: int) -> str:
    """Names the question that ways answer: all ways of one framework for one model.

    Args:
        asked: A case or a row.
        devices: Number of devices of the split ways; one device is among them everywhere.
    """
    name = label(asked.framework, asked.engine)
    padded = f", vocabulary padded to {asked.padded}" if asked.padded else ""
    return (f"{name}, {asked.workload} {asked.size}{padded}, {asked.dtype} {asked.mode}, "
            f"{devices} {asked.device} device{'s' if devices > 1 else ''}")


def is_plain(asked: Asked) -> bool:
    """Returns whether a way is data parallelism as a framework offers it, with nothing added."""
    return asked.strategy == "data" and _bare(asked)


def is_alone(asked: Asked) -> bool:
    """Returns whether a way is one device, with nothing added."""
    return asked.strategy == "single" and _bare(asked)


def _bare(asked: Asked) -> bool:
    added = (asked.variant, asked.accumulate, asked.recompute)
    return added == ("", 1, NO_RECOMPUTE) and asked.balance in ("", STATIC)
