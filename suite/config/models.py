"""The models of all commands: whose variables the environment may hold."""

from __future__ import annotations

from suite.config.foresight import ForesightConfig
from suite.config.model import AbConfig, RunConfig
from suite.config.sweep_model import LinkConfig

MODELS = (RunConfig, AbConfig, LinkConfig, ForesightConfig)
