"""Asks the machine in a separate process, which is ended at a time limit.

A driver may hang, a library may crash its process, and a site hook may print a line. Therefore a
child process asks for whatever is risky. It answers in JSON through a pipe of its own, because
anything may write to standard output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Value = TypeVar("Value")


class Unknown(Exception):
    """Raised if the machine did not answer; the text says why."""


def ask(module: str, *arguments: str, seconds: float, extra: dict[str, str] | None = None) -> Any:
    """Runs ``python -m MODULE PIPE ARGUMENTS`` and returns its answer.

    Args:
        module: A module that calls :func:`answer` with its result.
        arguments: The arguments that follow the number of the pipe.
        seconds: After this time the process is ended.
        extra: Environment variables to add to those of this process.

    Raises:
        Unknown: If it did not answer in time, failed, or answered something other than JSON.
    """
    return Asked(module, *arguments, extra=extra).answer(seconds)


class Asked:
    """A probe that has been started; its answer is waited for later, or never.

    Args:
        module: Calls :func:`answer` with what it found.
        arguments: Arguments of the module, which follow the number of the pipe.
        extra: Variables of its environment beside ours.
    """

    def __init__(self, module: str, *arguments: str, extra: dict[str, str] | None = None) -> None:
        self.module = module
        self._reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(writing), *arguments], pass_fds=(writing,),
                env=os.environ | (extra or {}), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)

    def answer(self, seconds: float) -> Any:
        """Returns what the probe answered; closing its standard input ends a probe that watches.

        Raises:
            Unknown: It did not answer in time, failed, or answered no JSON.
        """
        process = self._process
        try:
            if process.stdin:
                process.stdin.close()
            return _answer_of(process, self._reading, self.module, seconds)
        finally:
            os.close(self._reading)


def _answer_of(
    process: subprocess.Popen[bytes], reading: int, module: str, seconds: float
) -> Any:
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Unknown(f"{module} did not answer in {seconds:g} s") from None
    with os.fdopen(os.dup(reading), encoding="utf-8") as stream:
        text = stream.read()
    if code != 0 or not text:
        raise Unknown(f"{module} ended with code {code}")
    try:
        return json.loads(text)
    except ValueError:
        raise Unknown(f"{module} answered no JSON") from None


def answer(result: Any) -> None:
    """Sends the result of a probe to the process that asked.

    Args:
        result: A value that JSON can hold, of at most 64 KiB, which is what a pipe takes.
    """
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as stream:
        json.dump(result, stream)


def run_tool(command: Sequence[str], seconds: float = 5.0) -> str:
    """Returns the standard output of a tool of the system.

    Raises:
        Unknown: If the tool does not exist, fails, or does not end in time.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Unknown(f"{command[0]} did not end in {seconds:g} s") from None
    except OSError as error:
        raise Unknown(f"{command[0]}: {error.strerror or error}") from None
    if done.returncode != 0:
        raise Unknown(f"{command[0]} ended with code {done.returncode}")
    return done.stdout


def known(look: Callable[[], Value], otherwise: Value) -> Value:
    """Returns the result of ``look``, or ``otherwise`` if the system does not show it.

    Files in ``/proc`` and ``/sys`` may be missing, unreadable, or have an unexpected form.
    """
    try:
        return look()
    except Exception:  # a missing fact about the machine must not end the command
        return otherwise
