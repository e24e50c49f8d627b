"""Whether a worker computes as it was asked to: what its ledger found against what its case says.

Variables, plugins and site hooks of a machine can change a framework without a word. A figure that
was measured with other threads, in another number format or without the compiler is no figure of
its case.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from suite.contract import nccl
from suite.contract.adapter import switch
from suite.contract.case import Case

# Entry of a ledger -> variables that are known to change it, by name or pattern.
CAUSES: dict[str, tuple[str, ...]] = {
    "threads_per_device": ("*_NUM_THREADS", "TF_NUM_*_THREADS"),
    "mode": ("TORCHDYNAMO_*", "TORCH_COMPILE_*", "TF_XLA_FLAGS", "XLA_FLAGS"),
    "tf32": ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_*"),
    "dtype": ("TF_ENABLE_*", "TF_AUTO_MIXED_*"),
    "network": ("NCCL_NET*", "NCCL_IB_*", "NCCL_CONF_FILE"),
}


class NotAsAsked(Exception):
    """A worker does not compute as its case says; the text says what was asked and found."""


def asked_of(case: Case) -> dict[str, str]:
    """Returns the entries of the ledger that a case determines, as adapters write them."""
    asked = {
        "threads_per_device": "1", "dtype": case.dtype, "mode": case.mode,
        "tf32": switch(case.dtype == "tf32"),
    }
    return asked | ({"network": case.transport} if case.transport else {})


def network_found(said: Sequence[str]) -> dict[str, str]:
    """Returns the network between hosts that NCCL names, to be compared with the case.

    Args:
        said: What ``nccl.words`` returned.
    """
    found = nccl.network(said)
    return {"network": found} if found else {}


def check_found(
    case: Case, found: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> None:
    """Compares a ledger with its case, except for entries that the adapter does not write.

    Args:
        case: What was asked.
        found: The ledger of a worker.
        environment: The worker's variables, for the likely cause.

    Raises:
        NotAsAsked: with every entry that is not as asked, and what is likely to have changed it.
    """
    asked = asked_of(case)
    other = {name: wanted for name, wanted in asked.items() if found.get(name, wanted) != wanted}
    if other:
        said = [f"{name} asked {wanted}, found {found[name]}" for name, wanted in other.items()]
        raise NotAsAsked(f"{'; '.join(said)}. Likely cause: {_cause(other, environment)}")


def _cause(names: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Names the variables that are set here and change one of these entries."""
    patterns = [pattern for name in names for pattern in CAUSES.get(name, ())]
    suspects = [
        f"{name}={value}" for name, value in sorted(environment.items())
        # The harness itself sets those of threads to one.
        if any(fnmatchcase(name, pattern) for pattern in patterns)
        and not (name.endswith("_THREADS") and value == "1")
    ]
    if not suspects:
        return "a plugin or site hook of this interpreter, or code of the workload"
    return f"{', '.join(suspects)} in the worker's environment"
