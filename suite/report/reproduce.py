"""The command that runs one case again, alone; the page puts it together from these parts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

# Options that a whole run shares, in the order a reader looks for them.
SHARED = ("steps", "warmup", "repeats", "seed", "data", "batch", "device_speeds", "timeout",
          "proof_timeout", "proof_memory")
# Options that are columns of a case. There is none for the engine: Horovod's command runs both.
OWN = (
    "framework", "strategy", "variant", "mesh", "workload", "size", "device", "devices", "dtype",
    "mode", "accumulate", "recompute", "balance", "padded", "scaling",
    "transport", "cut",
)


def shared_options(configuration: Mapping[str, Any]) -> str:
    """Writes the options that all cases of a run share. Data from a file needs the file again."""
    given = {name: configuration[name] for name in SHARED
             if configuration.get(name) not in (None, "", [])}
    shared = ["--oversubscribe"] if configuration.get("oversubscribe") else []
    return " ".join(shared + [
        f"--{name.replace('_', '-')} {shlex.quote(_text(value))}" for name, value in given.items()
    ])


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
