"""Builds the cases of a matrix from a configuration, and refuses what can never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from suite.config.model import MeasureConfig
from suite.config.starts import with_starts
from suite.config.ways import DEFAULT, Way, variant_names, ways_asked
from suite.contract.case import STATIC, STRONG, WEAK, Case
from suite.contract.errors import UsageError
from suite.contract.hosts import crowding, hosts_needed
from suite.contract.registry import adapters
from suite.contract.splits.division import check_divides, division_problem
from suite.contract.splits.strategies import AUTO, COMBINED, STRATEGIES
from suite.contract.workloads import DEFAULT_SIZES, find_workload, sized_workload


def build_matrix(
    config: MeasureConfig, gpus: int, slots: Sequence[int] = ()
) -> list[Case]:
    """Builds every case of the matrix.

    Args:
        config: What was asked for.
        gpus: GPUs of this host that may be used; other hosts are taken to have as many.
        slots: Devices of each host that the run may use; empty for this host alone.

    Raises:
        UsageError: Something that can never run was asked for.
    """
    hosts = spread(config.devices, slots)
    crowd = {count: crowding(count, number, slots) for count, number in hosts.items()}
    # One kind for all numbers of devices: they share their bases.
    device = choose_device(config.device, max(crowd.values()), gpus, config.oversubscribe)
    # An adapter that cannot be loaded may be asked for: its rows say why it cannot.
    offered = {name: adapter.traits.engines for name, adapter in adapters().items()}
    known("framework", config.framework, offered)
    known("strategy", config.strategy, [*STRATEGIES, *COMBINED, AUTO])
    known("python", list(config.python), offered)
    known("variant", config.variant, [DEFAULT, *variant_names()])
    ways = ways_asked(config)
    speeds = _planned_speeds(config)
    cases = []
    for workload in config.workload:
        size = find_workload(workload, config.size or DEFAULT_SIZES.get(workload, "")).size
        for padded in config.padded:
            spec = sized_workload(workload, size, config.batch or 0, padded=padded)
        cases += [
            Case(
                framework=framework, engine=engine, strategy=way.strategy, variant=way.variant,
                workload=workload, size=size, data=config.data, device=device,
                devices=way.devices,
                dtype=dtype, mode=mode, steps=config.steps, seed=config.seed,
                probe_steps=config.probe_steps, probe_precision=config.probe_precision,
                warmup_limit=config.warmup,
                mesh=way.mesh, device_speeds=_unequal(speeds, way.devices), cut=way.cut,
                global_batch=(spec.global_batch * way.devices if scaling == WEAK
                              else config.batch or 0),
                oversubscribe=device == "cuda" and crowd.get(way.devices, way.devices) > gpus,
                accumulate=accumulate, hosts=hosts.get(way.devices, 1),
                recompute=recompute, balance=balance, padded=padded, scaling=scaling,
                transport=transport,
            )
            for framework in config.framework for engine in offered[framework]
            for way in ways
            for dtype in config.dtype for mode in config.mode for accumulate in config.accumulate
            for recompute in config.recompute for padded in config.padded
            # A single device has nothing to share, its batch has not grown, and it sends nothing.
            for balance in (config.balance if way.strategy != "single" else [STATIC])
            for scaling in _scalings(way, config)
            for transport in (config.transport if way.strategy != "single" else ()) or ("",)
        ]
    if AUTO not in config.strategy:
        _check_splits(cases)
    return with_starts(cases, config.start)


def _scalings(way: Way, config: MeasureConfig) -> list[str]:
    """What of a step stays the same: on one device both are one case, which is made once."""
    if way.strategy == "single":
        return [STRONG]
    return list(config.scaling[:1] if way.devices == 1 else config.scaling)


def spread(counts: Sequence[int], slots: Sequence[int]) -> dict[int, int]:
    """Returns how many hosts each number of devices needs."""
    if max(counts) > sum(slots) > 0:
        raise UsageError("--devices", max(counts), f"at most {sum(slots)}, the slots of --hosts",
                         "ask for fewer, or name more hosts or slots")
    return {count: hosts_needed(count, slots) if slots else 1 for count in counts}


def _planned_speeds(config: MeasureConfig) -> list[float]:
    """Returns the speed of each device of the largest number.

    Smaller numbers use the first of them.
    """
    speeds = config.device_speeds
    if isinstance(speeds, str):
        raise UsageError("--device-speeds", speeds, "numbers, once they are measured",
                         "give them as numbers")
    if speeds and len(speeds) != max(config.devices):
        shown = ",".join(f"{speed:g}" for speed in speeds)
        raise UsageError("--device-speeds", shown, f"one for each of {max(config.devices)} devices",
                         "correct it, or --devices")
    return speeds


def _unequal(speeds: list[float], count: int) -> tuple[float, ...]:
    """Returns the speeds of the first ``count`` devices, or nothing if they are all alike."""
    return tuple(speeds[:count]) if len(set(speeds[:count])) > 1 else ()


def _check_splits(cases: list[Case]) -> None:
    """Raises :class:`UsageError` if the work splits evenly over none of the numbers of devices.

    If it splits over some of them, each of the others becomes a row without figures that says why.
    """
    ways: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        ways.setdefault((case.workload, case.strategy, case.variant), []).append(case)
    for group in ways.values():
        if all(map(division_problem, group)):
            check_divides(group[0])


def known(what: str, asked: list[str], allowed: Any) -> None:
    """Checks that every name a user gave exists.

    Args:
        what: The option without its dashes, for the message.
        asked: The names that the user gave.
        allowed: The names that exist.

    Raises:
        UsageError: For the first name that does not exist.
    """
    for name in asked:
        if name not in allowed:
            expected = f"one of {', '.join(allowed)}"
            raise UsageError(f"--{what}", name, expected, "pick one of these")


def choose_device(asked: str, devices: int, gpus: int, oversubscribe: bool = False) -> str:
    """Chooses between CPUs and GPUs; ``auto`` takes GPUs if there are enough.

    Args:
        Asked: ``auto``, ``cpu`` or ``cuda``.
        devices: How many devices the largest case needs.
        gpus: How many GPUs ``CUDA_VISIBLE_DEVICES`` leaves to this process.
        oversubscribe: Whether several ranks may share a GPU.

    Returns:
        ``cpu`` or ``cuda``.

    Raises:
        UsageError: If the user asked for GPUs and there are too few.
    """
    if asked == "cuda" and gpus < 1:
        raise UsageError("--device", "cuda", "a machine with a GPU", "use --device cpu")
    if asked == "cuda" and gpus < devices and not oversubscribe:
        expected = f"{devices} GPUs, of which {gpus} can be seen"
        fix = "ask for fewer --devices, or let ranks share one over gloo with --oversubscribe"
        raise UsageError("--device", "cuda", expected, fix)
    if asked != "auto":
        return asked
    return "cuda" if gpus >= devices or (gpus and oversubscribe) else "cpu"
