"""Warnings as data: what to doubt about a row, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Warning:
    """A doubt about a row.

    Attributes:
        code: A key of ``REGISTRY``.
        message: What was found.
        hint: What the user can do about it.
        details: The values of the fields that the message names.
    """

    code: str
    message: str
    hint: str
    details: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}; {self.hint}"


# Code -> (message with named fields, hint). Both read as clauses of one sentence.
REGISTRY: dict[str, tuple[str, str]] = {
    "one_launch": (
        "only one launch finished, so there is no interval and no case can be called faster",
        "raise --repeats, or ask for a --precision",
    ),
    "few_launches": (
        "there are only {launches} launches, fewer than {needed}, so the interval has to assume "
        "that their step times are log-normal",
        "raise --repeats, or ask for a --precision",
    ),
    "imprecise": (
        "the interval reaches {share:.1%} either way, but {asked:.1%} was asked for",
        "raise --budget or --repeats",
    ),
    "noisy": (
        "steps vary by {share:.0%} of their mean, more than {limit:.0%}",
        "close other programs on this machine",
    ),
    "no_steady_state": (
        "in {launches} of {total} launches step times still changed by more than 2 % when the "
        "warm-up ended",
        "raise --warmup",
    ),
    "drift": (
        "a core multiplied matrices at a rate that changed by {share:.0%} between blocks, more "
        "than {limit:.0%}",
        "keep the machine's clocks steady, and trust speedups, which are paired by block, more "
        "than step times",
    ),
    "steal": (
        "the hypervisor gave {share:.0%} of the cores' time to other machines, more than "
        "{limit:.0%}",
        "use a machine that is not shared",
    ),
    "neighbours": (
        "other programs kept {cores:.2f} cores busy beside the launches{who}",
        "end them, or measure when they have ended",
    ),
    "throttled": (
        "a GPU lowered its clocks ({reasons})", "cool the GPU, or lock its clocks at a lower rate",
    ),
    "not_pinned": (
        "processes ran on cores {found} instead of the cores asked for, {asked}",
        "let the harness set the affinity, which a container may forbid",
    ),
    "oversubscribed": (
        "several devices share a {what}, so no speedup is given", "ask for fewer --devices",
    ),
    "shared_pool": (
        "all logical devices share one process and its thread pool",
        "compare with a case that has a process for each device, such as Horovod's tensorflow "
        "engine",
    ),
    "rounded_gradients": (
        "gradients travelled as {text}, which rounds each of them in every step",
        "check that your model still reaches its accuracy, or take --variant default, which does "
        "not round them",
    ),
    "emulated": ("{text}", "compare with a framework that has the operation"),
    "not_measured": ("{what}", "nothing needs to be done, but the column stays empty"),
    "unprobed": (
        "launches that ran {text} have no T_comm, T_i and L",
        "their clean steps count; for the others give a smaller --batch",
    ),
    "not_forked": (
        "{text}, so its ranks were new processes in some launches: they start later, and compute "
        "the same",
        "run it again with --start fresh to have all launches alike"
    ),
    "not_comparable": (
        "the case cannot be compared with its base {base}: {reason}",
        "run both with the same settings",
    ),
    "probe_overhead": (
        "steps with probes take {share:.0%} longer than clean ones, more than {limit:.0%}",
        "read T_comm, wait and transfer as upper bounds; step time and speedup are measured "
        "without probes",
    ),
    "run_over_link": (
        "transfer takes {factor:.3g} times as long inside a step as on the idle link: {reason}",
        "plan with latency_run_s and alpha_run_s_per_byte; leaving a core unused gives room to "
        "the threads that communicate",
    ),
    "unsteady_transfer": (
        "the transfer of a launch is {share:.0%} away from what the other launches predict, more "
        "than {limit:.0%}",
        "measure T_comm in more launches: raise --repeats and --probes; where timed_steps is below "
        "40, --probe-precision 5% times more of them",
    ),
    "comm_check": (
        "exposed T_comm is {exposed_ms:.3g} ms, but switching communication off saves "
        "{saved_ms:.3g} ms",
        "trust neither figure before you have looked at the timeline (--timeline)",
    ),
}


def warn(code: str, **details: object) -> Warning:
    """Makes the warning of a code.

    Args:
        code: A key of ``REGISTRY``.
        details: The values of the fields that the code's message names.
    """
    message, hint = REGISTRY[code]
    return Warning(code, message.format(**details), hint, details)


def flatten(warnings: list[Warning]) -> str:
    """Joins warnings for a CSV cell: ``code: message; hint``, separated by "; "."""
    return "; ".join(str(warning) for warning in warnings)
