"""A deterministic adapter without a framework; FAKE_FAULT plants what a real one may do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.hosts import Host
from suite.contract.traits import Traits

TRAITS = Traits(
    engines=("numpy",),
    distributions=("numpy",),
    collectives={
        "data": ("all_reduce",), "intra_layer": ("all_reduce",), "inter_layer": ("send_recv",),
    },
    unswept=dict.fromkeys(("all_gather", "reduce_scatter", "broadcast"), "not on paper"),
    variants={"inter_layer": ("gpipe", "1f1b", "naive", "interleaved")},
    references=("numpy",),
    environment={"OMP_NUM_THREADS": "1"},
    preloaded={"numpy": ("adapters.fake.session",)},
    late=("FAKE_RANK",),
)


def unsupported_reason(case: Case) -> str:
    return "asked to be" if os.environ.get("FAKE_FAULT") == "unsupported" else ""


def installation_problem(case: Case) -> str:
    return ""


def launch_plan_on(
    case: Case, folder: Path, python: str, hosts: Sequence[Host]
) -> LaunchPlan:
    if os.environ.get("FAKE_FAULT") == "refuse":
        raise UsageError("the host name x", "127.0.1.1", "another address", "correct /etc/hosts")
    return launch_plan(case, folder, python)


def launch_plan(case: Case, folder: Path, python: str) -> LaunchPlan:
    ranks = [{"FAKE_RANK": str(rank)} for rank in range(case.devices)]
    if os.environ.get("FAKE_FAULT") == "helper":
        return LaunchPlan(case.devices, ranks, [python, "-c", "exit(3)"], folder / "never.json")
    compiles = os.environ.get("FAKE_FAULT") == "compiles"
    return LaunchPlan(case.devices, ranks, scratch=folder / "compiled" if compiles else None)
