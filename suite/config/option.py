"""How an option is declared, once: command line, TOML, environment and documentation read this.

Only the standard library is imported, so that ``--help`` need not wait for a validation library.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Option:
    """What an option means beside its type and default.

    Attributes:
        help: One line for the command line, the example file and the documentation.
        names: Kind of names that the shell completes (``suite.cli.completion``); empty for none.
        parse: Text of a command line or of a file -> value; raises ValueError, which says what was
            expected.
        check: A value -> what is wrong with it in words, empty if nothing is.
        commas: Whether a list may be given as comma-separated text.
        example: A value for the documentation where there is no default.
        heading: Of the part of the documentation that begins with this option.
    """

    help: str
    names: str = ""
    parse: Callable[[str], Any] | None = None
    check: Callable[[Any], str] | None = None
    commas: bool = True
    example: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Setting:
    """A field of a model with its :class:`Option`."""

    name: str
    hint: Any  # as declared, with bounds
    kind: Any  # without them
    option: Option
    field: dataclasses.Field[Any]

    @property
    def default(self) -> Any:
        """The value of an option that nobody gives; it may look which adapters there are."""
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return self.field.default

    @property
    def flag(self) -> str:
        """``--batch-resolution``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """``SUITE_BATCH_RESOLUTION``."""
        return f"SUITE_{self.name.upper()}"

    @property
    def is_list(self) -> bool:
        """Whether it takes several values; of a union, as ``1,0.5``, its parser decides."""
        return get_origin(self.kind) is list

    @property
    def is_table(self) -> bool:
        """Whether it takes ``NAME=VALUE`` pairs."""
        return get_origin(self.kind) is dict

    def from_text(self, text: str) -> Any:
        """The value that an environment variable gives; raises ValueError."""
        if self.is_table:
            return dict(pair.partition("=")[::2] for pair in text.split(","))
        if self.is_list:
            parts = text.split(",") if self.option.commas else text.split(" ")
            return [part.strip() for part in parts if part.strip()]
        if self.option.parse:
            return text
        scalar = scalar_of(self.kind)
        if scalar is bool:
            if text.lower() not in TRUE + FALSE:
                raise ValueError(f"one of {', '.join(TRUE + FALSE)}")
            return text.lower() in TRUE
        try:
            return scalar(text)
        except ValueError:
            raise ValueError(f"a value of type {scalar.__name__}") from None

    def normalised(self, value: Any) -> Any:
        """A value as the model holds it: text is parsed, lists have no value twice.

        Raises:
            ValueError: The text cannot be read; the message says what was expected.
        """
        if isinstance(value, str) and self.option.parse:
            value = self.option.parse(value)
        if self.is_list:
            values = value if isinstance(value, list) else [value]
            value = [self._counted(item) for item in values]
            if all(isinstance(item, str | int) for item in value):
                value = list(dict.fromkeys(value))
        problem = self.option.check(value) if self.option.check else ""
        if problem:
            raise ValueError(problem)
        return value

    def _counted(self, value: Any) -> Any:
        """Whole numbers of a list come as text from a command line."""
        if isinstance(value, str) and scalar_of(get_args(self.kind)[0]) is int:
            return int(value) if value.strip().lstrip("-").isdecimal() else value
        return value


def scalar_of(kind: Any) -> Callable[[str], Any]:
    """The type behind ``Annotated``, ``… | None`` and ``Literal``."""
    origin = get_origin(kind)
    if origin is Annotated:
        return scalar_of(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return scalar_of(next(arg for arg in get_args(kind) if arg is not type(None)))
    return kind if isinstance(kind, type) else str


def settings_of(model: type[Any]) -> Mapping[str, Setting]:
    """Name -> setting of every field of a model, in order."""
    hints = get_type_hints(model, include_extras=True)
    settings = {}
    for field in dataclasses.fields(model):
        hint = hints[field.name]
        kind, *marks = get_args(hint)
        option = next(mark for mark in marks if isinstance(mark, Option))
        settings[field.name] = Setting(field.name, hint, kind, option, field)
    return settings
