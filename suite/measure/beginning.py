"""What a new run writes down before anything is launched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from suite.config.model import RunConfig
from suite.contract.case import SCHEMA_VERSION
from suite.contract.registry import traits_of
from suite.contract.secrets import masked
from suite.launch.across.engines import TORCHRUN
from suite.launch.environment import dropped_variables
from suite.machine import description
from suite.runfolder import files


def new_run(run_id: str, config: RunConfig, arguments: Sequence[str]) -> dict[str, Any]:
    """Returns the ``run.json`` of a new run, without anything secret.

    Args:
        run_id: Name of the run.
        config: Its configuration.
        arguments: The command line without the program.
    """
    content: dict[str, Any] = masked({
        "run_id": run_id,
        "schema_version": SCHEMA_VERSION,
        "environment": description.describe(),
        "configuration": asdict(config),
        "command_line": ["suite", *arguments],
        "started": files.utc_now(), "state": "running",
        "plan": [],
        "dropped_environment": dropped_variables(
            map(traits_of, config.framework), placed=config.launcher == TORCHRUN),
    })
    return content
