"""Parses ``--a`` and ``--b``: environment settings, followed by options as ``run`` takes them."""

from __future__ import annotations

import re
import shlex
from typing import Any

import typer

from suite.cli.parameters import given_options, with_options
from suite.config.model import SideConfig
from suite.config.option import settings_of
from suite.config.sides import SideText
from suite.contract.errors import UsageError

SETTING = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
# The command line parser raises this for any mistake in the options.
Mistake: type[Exception] = typer.BadParameter.__bases__[0]


def parse_side(flag: str, text: str) -> SideText:
    """Splits ``"NCCL_ALGO=Ring --variant fp16"`` into settings and options; both may be empty.

    Args:
        Flag: ``--a`` or ``--b``, for error messages.
        text: The text, with words quoted as in a shell.

    Raises:
        UsageError: If the text cannot be parsed, or names an option that does not describe a case.
    """
    try:
        tokens = shlex.split(text)
    except ValueError as error:
        raise UsageError(flag, text, "text as for a shell", f"close the quotes ({error})") from None
    settings: dict[str, str] = {}
    while tokens and (found := SETTING.fullmatch(tokens[0])):
        settings[found[1]] = found[2]
        tokens.pop(0)
    return SideText(settings, _options(flag, text, tokens))


def _options(flag: str, text: str, tokens: list[str]) -> dict[str, Any]:
    try:
        context = _command().make_context(flag, tokens)
    except Mistake as error:
        flags = ", ".join(setting.flag for setting in settings_of(SideConfig).values())
        expected = f"NAME=VALUE settings, then options that describe a case: {flags}"
        raise UsageError(flag, text, expected, f"correct it ({error})") from None
    # The parser returns lists as tuples, and an empty tuple for a list that was not given.
    values = {name: list(value) if isinstance(value, tuple) else value
              for name, value in context.params.items()}
    return given_options(SideConfig, values)


def _command() -> Any:
    """Returns a command that parses the options of a case and does nothing else."""
    app = typer.Typer(add_completion=False)

    @app.command(add_help_option=False)
    @with_options(SideConfig)
    def side(**options: Any) -> None:
        """Declares the options; it is never called."""

    return typer.main.get_command(app)
