"""The fairness ledger: what a row was measured with, and what keeps two rows from comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from suite.contract.case import Case
from suite.contract.records import Launch

Ledger = dict[str, str]
MUST_EQUAL = (
    "workload", "data", "seed", "global_batch", "accumulate", "dtype", "mode", "device", "tf32",
    "determinism", "threads_per_device", "cores_per_device",
)


def build_ledger(case: Case, launches: Sequence[Launch]) -> Ledger:
    """What the harness asked and what every rank found; values that disagree stand side by side.

    Everything else (framework, versions, backend, oneDNN, a shared pool) differs by nature and
    is listed, not held against a row.
    """
    asked: Ledger = {
        "framework": case.framework, "engine": case.engine,
        "workload": f"{case.workload} {case.size}", "data": case.data, "seed": str(case.seed),
        "global_batch": str(case.spec.global_batch), "accumulate": str(case.accumulate),
        "dtype": case.dtype, "mode": case.mode, "device": case.device,
    }
    if case.device_speeds:
        asked["device_speeds"] = shown_speeds(case)
    if case.recomputes:
        asked["recompute"] = case.recompute
    if case.balances:
        asked["balance"] = case.balance
    records = [record for launch in launches for record in launch]
    if case.device == "cpu":
        asked["cores_per_device"] = _either(
            f"{len({core for record in launch for core in record.affinity}) / case.devices:g}"
            for launch in launches
        )
    found = [asked, *(record.ledger for record in records)]
    names = dict.fromkeys(name for ledger in found for name in ledger)
    return {name: _either(ledger[name] for ledger in found if name in ledger) for name in names}


def shown_speeds(case: Case) -> str:
    """Empty where shares are even."""
    return ", ".join(f"{speed:g}" for speed in case.device_speeds)


def _either(values: Iterable[str]) -> str:
    return " and ".join(sorted(set(values)))


def obstacle(a: Ledger, b: Ledger) -> str:
    """The first entry that must be equal and is not, with both values; empty if all are."""
    for name in MUST_EQUAL:
        one, other = a.get(name, "not recorded"), b.get(name, "not recorded")
        if one != other:
            return f"{name} is {one} against {other}"
    return ""


def differences(a: Ledger, b: Ledger) -> list[str]:
    """Entries that differ by nature, for the reader to know."""
    names = [name for name in dict.fromkeys([*a, *b]) if name not in MUST_EQUAL]
    return [name for name in names if a.get(name) != b.get(name)]
