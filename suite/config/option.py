"""How an option is declared. Command line, TOML, environment and documentation read this.

It imports only the standard library, so that ``--help`` need not wait for a validation library.
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
    """What an option means, besides its type and default.

    Attributes:
        help: One line for the command line, the example file and the documentation.
        names: The kind of names that the shell completes (``suite.cli.completion``), or empty.
        parse: Turns the text of a command line or file into a value; raises ValueError with what it
            expected.
        check: Says in words what is wrong with a value; returns an empty text if nothing is.
        commas: Whether a list may be given as comma-separated text.
        example: A value for the documentation if there is no default.
        heading: The title of the part of the documentation that begins with this option.
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
    """A field of a configuration model together with its :class:`Option`."""

    name: str
    hint: Any  # the type as declared, with its bounds
    kind: Any  # the type without its bounds
    option: Option
    field: dataclasses.Field[Any]

    @property
    def default(self) -> Any:
        """Returns the value of the option if nobody gives it.

        May look which adapters are installed.
        """
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return self.field.default

    @property
    def flag(self) -> str:
        """The option on the command line, such as ``--batch-resolution``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The environment variable of the option, such as ``SUITE_BATCH_RESOLUTION``."""
        return f"SUITE_{self.name.upper()}"

    @property
    def is_list(self) -> bool:
        """Whether the option takes a list.

        An option whose type is a union is read by its own parser.
        """
        return get_origin(self.kind) is list

    @property
    def is_table(self) -> bool:
        """Whether the option takes ``NAME=VALUE`` pairs."""
        return get_origin(self.kind) is dict

    def from_text(self, text: str) -> Any:
        """Returns the value that the text of an environment variable stands for.

        Raises:
            ValueError: If the text cannot be read; the message says what was expected.
        """
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
        """Returns a value in the form the model holds: text is parsed, and lists lose their
        repetitions.

        Args:
            value: Text, or a value from a TOML file.

        Raises:
            ValueError: If the text cannot be read; the message says what was expected.
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
        """Converts whole numbers in a list, which come as text from a command line."""
        if isinstance(value, str) and scalar_of(get_args(self.kind)[0]) is int:
            return int(value) if value.strip().lstrip("-").isdecimal() else value
        return value


def scalar_of(kind: Any) -> Callable[[str], Any]:
    """Returns the type behind ``Annotated``, ``… | None`` and ``Literal``."""
    origin = get_origin(kind)
    if origin is Annotated:
        return scalar_of(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return scalar_of(next(arg for arg in get_args(kind) if arg is not type(None)))
    return kind if isinstance(kind, type) else str


def settings_of(model: type[Any]) -> Mapping[str, Setting]:
    """Returns the settings of all fields of a model by name, in the order of their declaration."""
    hints = get_type_hints(model, include_extras=True)
    settings = {}
    for field in dataclasses.fields(model):
        hint = hints[field.name]
        kind, *marks = get_args(hint)
        option = next(mark for mark in marks if isinstance(mark, Option))
        settings[field.name] = Setting(field.name, hint, kind, option, field)
    return settings
