"""Declares every option of ``link``, as those of ``run`` are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen

from suite.config.model import INTERPRETERS, ClusterConfig, own_frameworks
from suite.config.option import Option
from suite.config.values import parse_bytes


def _collectives() -> list[str]:
    from suite.contract.sweep import COLLECTIVES

    return list(COLLECTIVES)


@dataclass(frozen=True)
class SweepConfig:
    """What ``link`` sweeps, and between how many devices."""

    framework: Annotated[
        list[str], MinLen(1),
        Option("frameworks whose transports are measured", names="framework"),
    ] = field(default_factory=own_frameworks)
    collective: Annotated[
        list[str], MinLen(1),
        Option("collectives to measure", names="collective"),
    ] = field(default_factory=_collectives)
    devices: Annotated[int, Ge(2), Option("how many devices take part")] = 2
    device: Annotated[Literal["auto", "cpu", "cuda"], Option("cpu, cuda or auto")] = "auto"
    bytes_min: Annotated[
        int, Ge(1), Option("smallest payload, for example 4", parse=parse_bytes)
    ] = 4
    bytes_max: Annotated[
        Annotated[int, Ge(1)] | None,
        Option("largest payload: 16MiB", parse=parse_bytes, example='"16MiB"'),
    ] = None
    repetitions: Annotated[int, Ge(3), Option("at most so many repetitions of every size")] = 30
    loaded: Annotated[
        bool, Option("sweep a second time, with ranks that compute between the calls")
    ] = False
    timeout: Annotated[float, Gt(0), Option("seconds a sweep may take")] = 120.0
    python: Annotated[dict[str, str], Option(INTERPRETERS)] = field(default_factory=dict)
    interface: Annotated[str, Option("network interface of gloo")] = "lo"


@dataclass(frozen=True)
class LinkConfig(ClusterConfig, SweepConfig):
    """What ``link`` sweeps, and on which hosts."""
