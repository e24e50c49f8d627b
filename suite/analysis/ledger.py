"""The fairness ledger: how a row was measured, and what keeps two rows from being compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from suite.contract.case import Case
from suite.contract.records import Launch

Ledger = dict[str, str]
# Two rows that differ in any of these entries are not compared.
MUST_EQUAL = (
    "workload", "data", "seed", "global_batch", "accumulate", "dtype", "mode", "device", "tf32",
    "determinism", "threads_per_device", "cores_per_device",
)


def build_ledger(case: Case, launches: Sequence[Launch]) -> Ledger:
    """Collects what the harness asked for and what every rank found.

    Values that disagree stand side by side. Entries outside ``MUST_EQUAL``, such as framework,
    versions and backend, differ by nature: they are listed but never held against a row.

    Args:
        case: The case.
        launches: Records of the launches that finished.
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
    if case.padded:
        asked["padded"] = str(case.padded)
    if case.balances:
        asked["balance"] = case.balance
    records = [record for launch in launches for record in launch]
    if case.device == "cpu":
        asked["cores_per_device"] = _distinct(
            f"{len(_cores(launch)) / case.devices:g}" for launch in launches
        )
    ledgers = [asked, *(record.ledger for record in records)]
    names = dict.fromkeys(name for ledger in ledgers for name in ledger)
    return {name: _distinct(ledger[name] for ledger in ledgers if name in ledger)
            for name in names}


def _cores(launch: Launch) -> set[tuple[str, int]]:
    """The cores of all ranks; hosts number theirs alike."""
    return {(record.host, core) for record in launch for core in record.affinity}


def shown_speeds(case: Case) -> str:
    """Writes the devices' relative speeds for a reader; empty if all devices get equal parts."""
    return ", ".join(f"{speed:g}" for speed in case.device_speeds)


def _distinct(values: Iterable[str]) -> str:
    """Writes each value once; there are several only if ranks disagree."""
    several = set(values)
    return several.pop() if len(several) == 1 else " and ".join(sorted(several))


def obstacle(a: Ledger, b: Ledger, free: Collection[str] = ()) -> str:
    """Returns the first entry that must be equal and is not, with both values; empty if all are.

    Args:
        a: One ledger.
        b: The other ledger.
        free: Entries that may differ here.
    """
    if [*map(a.get, MUST_EQUAL)] == [*map(b.get, MUST_EQUAL)]:  # of nearly every pair of rows
        return ""
    for name in (name for name in MUST_EQUAL if name not in free):
        of_a, of_b = a.get(name, "not recorded"), b.get(name, "not recorded")
        if of_a != of_b:
            return f"{name} is {of_a} against {of_b}"
    return ""


def differences(a: Ledger, b: Ledger) -> list[str]:
    """Lists the entries that differ by nature between two ledgers, for the reader to know."""
    names = [name for name in dict.fromkeys([*a, *b]) if name not in MUST_EQUAL]
    return [name for name in names if a.get(name) != b.get(name)]
