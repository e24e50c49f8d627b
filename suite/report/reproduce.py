"""The command that runs one case of a run again, alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]
# Options that a whole run shares, in the order a reader looks for them.
SHARED = ("steps", "warmup", "repeats", "seed", "data", "timeout")


OWN = ("framework", "strategy", "variant", "workload", "size", "device", "devices",
       "dtype", "mode")


def case_command(row: Row) -> str:
    """``python -m suite run`` with what is this case's own; ``shared_options`` complete it.

    An engine has no option: Horovod's command runs both. Data in a file needs the file.
    """
    shared = " --oversubscribe" if row.get("oversubscribe") else ""
    return f"python -m suite run {_options(row, OWN)}{shared}"


def shared_options(configuration: Mapping[str, Any]) -> str:
    """The options that all cases of a run have in common."""
    return _options(configuration, SHARED)


def _options(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    given = {name: values[name] for name in names if values.get(name) not in (None, "")}
    return " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in given.items())
