"""Validates what users gave; an error says what to correct."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypeVar

from suite.config.models import MODELS
from suite.config.option import Setting, settings_of
from suite.contract.errors import UsageError
from suite.contract.registry import engines
from suite.contract.threads import SETTING, event_loop_setting
from suite.machine import software

Model = TypeVar("Model")
# Variables that begin with SUITE_ and are not options of a model.
OTHERS = {"SUITE_PASS_ENV", "SUITE_PRESET", "SUITE_CONFIG", "SUITE_OUT", "SUITE_LAUNCH",
          "SUITE_INIT_METHOD", "SUITE_WORKING_FOLDER", "SUITE_JOIN_KEY", "SUITE_JOIN_PORT", SETTING}


def validate(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Validates options against a model.

    Interpreters of environments that lie beside this one are added to those that the user named.

    Args:
        model: A class of :mod:`suite.config.model`.
        values: Option names and values.

    Returns:
        An instance of the model.

    Raises:
        UsageError: If a name is unknown, or a value has the wrong type or is out of bounds.
    """
    settings = settings_of(model)
    config = model(**{name: _valid(settings, name, value) for name, value in values.items()})
    named = {"python": software.interpreters(engines()) | config.python}  # type: ignore[attr-defined]
    return replace(config, **named)  # type: ignore[type-var]


def _valid(settings: Mapping[str, Setting], name: str, value: Any) -> Any:
    """Returns the value in the type of the model, if it is within its bounds."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    if name not in settings:
        near = get_close_matches(name, settings, 1)
        fix = f"did you mean {near[0]}?" if near else "drop it"
        raise UsageError(f"option {name}", name, f"one of {', '.join(settings)}", fix)
    setting = settings[name]
    try:
        adapter = TypeAdapter(setting.hint, config=ConfigDict(strict=True))
        return adapter.validate_python(setting.normalised(value))
    except ValidationError as error:
        first = error.errors()[0]
        expected = first["msg"].removeprefix("Input should be ")
        where = ".".join([name, *(part for part in first["loc"] if isinstance(part, str))])
        raise UsageError(f"option {where}", first["input"], expected, "correct it") from None
    except ValueError as error:
        raise UsageError(f"option {name}", value, str(error), "correct it") from None


def from_environment(
    model: type[Any], environment: Mapping[str, str] = os.environ
) -> dict[str, Any]:
    """Returns the options that environment variables such as ``SUITE_STEPS`` give.

    Args:
        model: A class of :mod:`suite.config.model`.
        environment: The variables; those of this process by default.

    Raises:
        UsageError: If a variable begins with ``SUITE_`` but belongs to no command, or cannot be
            read.
    """
    known = {s.variable for each in MODELS for s in settings_of(each).values()} | OTHERS
    for name in environment:
        if name.startswith("SUITE_") and name not in known:
            near = get_close_matches(name, known, 1)
            fix = f"did you mean {near[0]}?" if near else "unset it"
            raise UsageError(f"environment variable {name}", environment[name],
                             "the name of an option, such as SUITE_STEPS", fix)
    try:
        event_loop_setting(environment)
    except ValueError as error:
        raise UsageError(f"environment variable {SETTING}", environment[SETTING], str(error),
                         "correct it, or unset it") from None
    settings = [s for s in settings_of(model).values() if environment.get(s.variable)]
    return {s.name: _read(s, environment[s.variable]) for s in settings}


def _read(setting: Setting, text: str) -> Any:
    try:
        return setting.from_text(text)
    except ValueError as error:
        name = f"environment variable {setting.variable}"
        raise UsageError(name, text, str(error), "correct it, or unset it") from None
