"""A column of ``results.csv`` as a field of the row: unit, label, format, meaning and source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from suite.contract.formats import FORMATS

Better = Literal["lower", "higher", ""]
# How a figure that ranks report becomes one of the row: the largest of any rank and launch, the
# median of every rank of every launch, or the sum over a launch's ranks and its median over
# launches.
FromRanks = Literal["", "largest", "median", "sum"]
METADATA = "metric"
# How the two kinds of interval are made.
MEDIAN = ("order statistics, exact for the median, from 6 launches on; Student's t on logarithms "
          "below.")
RATIO = ("signed-rank test over blocks, exact under their random order, from 6 pairs on; "
         "Student's t on logarithms below.")


@dataclass(frozen=True)
class Metric:
    """A column; ``kind`` names the format (``suite.contract.formats.FORMATS``).

    ``from_ranks`` says how the figure of the same name in the ranks' records is reduced to the
    row's; it is empty for a column that the harness works out itself.

    Raises:
        ValueError: for a format that does not exist, when the table is built.
    """

    name: str
    unit: str
    label: str
    better: Better
    kind: str
    definition: str
    from_ranks: FromRanks = ""

    def __post_init__(self) -> None:
        if self.kind not in FORMATS:
            known = ", ".join(FORMATS)
            raise ValueError(f"column {self.name}: no format {self.kind!r}, only {known}")

    def show(self, value: Any) -> str:
        """The value for a reader; empty for a figure that does not exist."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        return FORMATS[self.kind](value)


def _column(default: Any, unit: str, label: str, better: str, kind: str, definition: str,
            from_ranks: str = "") -> Any:
    described = {"unit": unit, "label": label, "better": better, "kind": kind,
                 "definition": definition, "from_ranks": from_ranks}
    if callable(default):
        return field(default_factory=default, metadata={METADATA: described})
    return field(default=default, metadata={METADATA: described})


def text(label: str, definition: str, default: Any = "") -> Any:
    """A column of words, or of whole numbers that readers pick rows by."""
    return _column(default, unit="", label=label, better="", kind="text", definition=definition)


def seconds(label: str, definition: str, better: Better = "lower") -> Any:
    """A column of seconds."""
    return _column(None, unit="s", label=label, better=better, kind="seconds",
                   definition=definition)


def figure(unit: str, label: str, better: Better, kind: str, definition: str, *,
           from_ranks: FromRanks = "") -> Any:
    """A column of numbers that may be missing."""
    return _column(None, unit=unit, label=label, better=better, kind=kind, definition=definition,
                   from_ranks=from_ranks)


class NamedFields:
    """A dataclass whose fields are also reached by names that are data; unknown ones are errors."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def value(self, name: str) -> Any:
        """The field of that name, for code to which the name is data.

        Raises:
            KeyError: for a name that is no field of a row.
        """
        if name not in self.__dataclass_fields__:
            raise KeyError(f"a row has no {name!r}")
        return getattr(self, name)

    def put(self, figures: Mapping[str, Any]) -> None:
        """Sets the fields of those names.

        Raises:
            KeyError: for a name that is no field of a row.
        """
        for name, value in figures.items():
            self.value(name)
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Every field by name, not copied: for what writes a file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
