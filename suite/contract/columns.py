"""The declaration of a column of ``results.csv``: unit, label, format, meaning and source.

A column is a field of the row. The functions here make such a field, and ``Metric`` is what the
rest of the suite reads from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from suite.contract.formats import FORMATS

Better = Literal["lower", "higher", ""]
# How the figures that ranks report are reduced to the figure of the row. "largest": the largest of
# all ranks and launches. "median": the median over all ranks of all launches. "sum": the sum over
# the ranks of a launch, then the median over launches. Empty: the harness computes the figure.
FromRanks = Literal["", "largest", "median", "sum"]
METADATA = "metric"
# How the intervals of a step time and of a ratio are computed; definitions of columns end so.
MEDIAN = ("From 6 launches on it is made of order statistics, which are exact for the median; "
          "with fewer it is Student's t on logarithms.")
RATIO = ("From 6 pairs on it inverts the signed-rank test over blocks, which is exact because "
         "their order is random; with fewer it is Student's t on logarithms.")


@dataclass(frozen=True)
class Metric:
    """A column of ``results.csv``, as tables, page and comparisons need to know it.

    Attributes:
        name: Name of the column.
        unit: Unit of its values, such as ``s``; empty for words and ratios.
        label: What readers see above the column.
        better: Which direction is an improvement; empty where there is none.
        kind: Name of its format in ``suite.contract.formats.FORMATS``.
        definition: What the column means and how it is measured, in whole sentences.
        from_ranks: How the figures of the same name in the ranks' records are reduced to the
            row's; empty for a column that the harness computes itself.

    Raises:
        ValueError: The format does not exist. This happens when the table is built.
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
        """Formats a value for a reader; the text is empty for a figure that does not exist."""
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
    """Declares a column of words, or of whole numbers by which readers pick rows.

    Args:
        label: What readers see above the column.
        definition: What the column means.
        default: Its value in a new row, or a function that makes it.
    """
    return _column(default, unit="", label=label, better="", kind="text", definition=definition)


def seconds(label: str, definition: str, better: Better = "lower") -> Any:
    """Declares a column of seconds, None in a new row.

    Args:
        label: What readers see above the column.
        definition: What the column means and how it is measured.
        better: Which direction is an improvement; empty where there is none.
    """
    return _column(None, unit="s", label=label, better=better, kind="seconds",
                   definition=definition)


def figure(unit: str, label: str, better: Better, kind: str, definition: str, *,
           from_ranks: FromRanks = "") -> Any:
    """Declares a column of numbers, None in a new row.

    Args:
        unit: Unit of the values, such as ``B``; empty for a ratio.
        label: What readers see above the column.
        better: Which direction is an improvement; empty where there is none.
        kind: Name of the format in ``suite.contract.formats.FORMATS``.
        definition: What the column means and how it is measured.
        from_ranks: How ranks' figures of the same name are reduced; empty if the harness computes
            the column itself.
    """
    return _column(None, unit=unit, label=label, better=better, kind=kind, definition=definition,
                   from_ranks=from_ranks)


class NamedFields:
    """A dataclass whose fields can also be read and set by names that are data."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def value(self, name: str) -> Any:
        """Returns the field of that name, for code to which the name is data.

        Raises:
            KeyError: A row has no field of that name.
        """
        if name not in self.__dataclass_fields__:
            raise KeyError(f"a row has no {name!r}")
        return getattr(self, name)

    def put(self, figures: Mapping[str, Any]) -> None:
        """Sets the fields of the given names.

        Args:
            figures: Name of a field to its new value.

        Raises:
            KeyError: A row has no field of that name.
        """
        for name, value in figures.items():
            self.value(name)
            setattr(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        """Returns every field by name, without copying the values, for code that writes a file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
