"""Ranks whose device another rank drives.

Manual placement over several hosts has one process that places operations on the devices of all
others. The others start no step: they serve, and tell what is to be known of their own process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from suite.contract.adapter import Inputs, Session, StepTrace
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights

# Moments that are no phases. At the first, counters of the clean steps are read, and memory is
# looked at; at the second, every rank leaves what it has measured, because probes follow.
CLEAN_ENDED = "end of the clean steps"
CLEAN_KEPT = "clean steps kept"


@runtime_checkable
class Drives(Protocol):
    """A session of rank 0 that drives the devices of all ranks; the sessions of the others are
    ``Driven``.
    """

    def moment(self, name: str, told: Mapping[str, Any] | None = None) -> None:
        """Tells the driven ranks of a moment; returns once each has done what it does then.

        It is never called while a step is timed.

        Args:
            name: The phase that begins, ``CLEAN_ENDED`` or ``CLEAN_KEPT``.
            told: With ``CLEAN_KEPT``, what their records have from the record of this rank so far,
                as JSON has it.
        """

    def over(self, told: Mapping[str, Any]) -> None:
        """Lets the driven ranks end.

        Args:
            told: What their records have from the record of this rank, as JSON has it.
        """


@runtime_checkable
class Driven(Protocol):
    """The session of a rank whose device rank 0 drives.

    Attributes:
        traces: What its probes saw of each timed step, once the moments are over.
        profiles: What its profiler saw of each traced step.
        told: What rank 0 told of its own record, with ``CLEAN_KEPT`` and at the end.
    """

    traces: list[StepTrace]
    profiles: list[StepTrace]
    told: Mapping[str, Any]

    def moments(self) -> Iterator[str]:
        """Yields each moment that rank 0 tells of, which waits until the next one is asked for.

        Raises:
            ConnectionError: Rank 0 has ended before its time.
        """

    def reset_peak_memory(self) -> None:
        """Starts the measurement of peak memory anew, as ``Session`` does."""

    def peak_memory_bytes(self) -> int:
        """Returns the peak memory of this process since the last reset, in bytes."""

    def device_memory_bytes(self) -> int:
        """Returns the memory in use on the rank's GPU in bytes; 0 on a CPU."""

    def matmul_flops_s(self) -> float:
        """Measures matrix products on this rank's device, in FLOP/s."""

    def describe(self) -> dict[str, str]:
        """Returns what this process finds for the fairness ledger."""

    def close(self) -> None:
        """Leaves rank 0."""


class OpensRank(Protocol):
    """The signature of an adapter's ``open_session`` whose ranks may be driven by another one."""

    def __call__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs
    ) -> Session | Driven: ...
