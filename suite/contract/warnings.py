"""Warnings as data: what to doubt about a row, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Warning:
    """``code`` is one of ``REGISTRY``; ``message`` says what was found, ``hint`` what to do."""

    code: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}; {self.hint}"


# code -> (message with named fields, hint)
REGISTRY: dict[str, tuple[str, str]] = {
    "one_launch": ("one launch has no interval, so nothing can be called faster",
                   "raise --repeats, or give --precision"),
    "few_launches": (
        "{launches} launches, fewer than {needed}: the interval assumes log-normal launches",
        "raise --repeats, or give --precision",
    ),
    "imprecise": (
        "the interval is {share:.1%} either way, asked was {asked:.1%}",
        "raise --budget or --repeats",
    ),
    "noisy": (
        "steps vary by {share:.0%} of their mean, more than {limit:.0%}",
        "close other programs",
    ),
    "no_steady_state": (
        "medians of successive windows still differed by over 2 % in {launches} of {total} "
        "launches",
        "raise --warmup",
    ),
    "drift": (
        "a core's matrix-product rate changed by {share:.0%} between blocks, more than {limit:.0%}",
        "keep the machine's clocks steady; speedups are paired by block, step times are not",
    ),
    "steal": (
        "the hypervisor gave {share:.0%} of the cores' time to others, more than {limit:.0%}",
        "use a machine that is not shared",
    ),
    "throttled": ("a GPU slowed its clocks ({reasons})", "cool it, or lower its clocks for good"),
    "not_pinned": (
        "processes ran on cores {found}, asked were {asked}",
        "let the harness set affinity; a container may forbid it",
    ),
    "oversubscribed": (
        "devices share a {what}, no speedup is given", "ask for fewer --devices",
    ),
    "shared_pool": (
        "logical devices share one thread pool and one process",
        "compare with a process a device, as Horovod's tensorflow engine runs",
    ),
    "rounded_gradients": (
        "gradients travelled as {text}, which rounds each of them in every step",
        "prove on the model's own accuracy that it may; --variant default rounds none",
    ),
    "emulated": ("{text}", "compare with a framework that has the operation"),
    "alpha_out_of_range": (
        "B of {bytes:.3g} bytes lies outside the sweep that alpha was fitted on",
        "widen the link sweep",
    ),
    "not_measured": ("{what}", "the cell stays empty"),
    "unprobed": (
        "T_comm, T_i and L are missing of launches that ran {text}",
        "their clean steps count; give a smaller --batch, or --probes 0",
    ),
    "not_comparable": ("with its base {base}: {reason}", "make the settings equal"),
    "probe_overhead": (
        "steps with probes take {share:.0%} longer than clean ones, more than {limit:.0%}",
        "read T_comm, wait and transfer as upper bounds; step time and speedup have no probes",
    ),
    "run_over_link": (
        "inside a step transfer takes {factor:.3g} times what it takes on the idle link: {reason}",
        "plan with latency_run_s and alpha_run_s_per_byte; a core that no device uses leaves room "
        "for the threads that communicate",
    ),
    "comm_check": (
        "exposed T_comm {exposed_ms:.3g} ms, but switching communication off saves "
        "{saved_ms:.3g} ms",
        "trust neither before the timeline has been looked at (--timeline)",
    ),
}


def warn(code: str, **details: object) -> Warning:
    """The warning of that code with its details filled in."""
    message, hint = REGISTRY[code]
    return Warning(code, message.format(**details), hint)


def flatten(warnings: list[Warning]) -> str:
    """For a CSV cell: ``code: message; hint`` joined by "; "."""
    return "; ".join(str(warning) for warning in warnings)
