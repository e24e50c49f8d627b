"""What the command line needs of its process: a folder to stand in, a name, and interruptions."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from suite.contract.errors import UsageError

CLOSED_PIPE = 128 + 13  # the exit code with which a shell reports SIGPIPE


class Commands(TyperGroup):
    """The group of commands.

    It ends quietly when the program that reads its output (``head``) ends.
    """

    def invoke(self, context: typer.Context) -> Any:  # type: ignore[override]
        """Runs the command that the user named."""
        try:
            return super().invoke(context)
        except BrokenPipeError:
            # Python flushes standard output at exit and would fail there a second time.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(CLOSED_PIPE)


def check_folder() -> None:
    """Refuses a current folder that somebody has removed: no path would mean anything in it.

    Raises:
        UsageError: The folder is gone.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("current folder", "one that is gone", "one that exists",
                         f"cd to it ({error.strerror})") from None


def program_name() -> str | None:
    """Returns the name under which a shell completes the command.

    Shells complete single words, so completion always belongs to the installed script ``suite``,
    even if the user asked for it through ``python -m suite``. None leaves the choice to Typer.
    """
    asked = sys.argv[1:2] in (["--show-completion"], ["--install-completion"])
    if asked and sys.argv[2:]:
        # Typer would guess the shell from the parent process, which in a batch job or a container
        # is no shell. Here the user named the shell.
        os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    return "suite" if asked or "_SUITE_COMPLETE" in os.environ else None


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Handles a signal like Ctrl-C."""
    raise KeyboardInterrupt
