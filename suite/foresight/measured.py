"""Constants of the machine at hand, each from the operation that it describes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from suite.analysis.link_fit import fit_links
from suite.contract.registry import label
from suite.foresight.compute import product_seconds
from suite.foresight.correction import rehearsed_ways
from suite.foresight.fitting import Posterior
from suite.foresight.kept_files import read_kept, write_kept
from suite.foresight.machine import FLOAT32, Link, Machine, Stack
from suite.foresight.rehearsal import Rehearsal
from suite.foresight.units import Array, Product
from suite.foresight.workloads import LAUNCHES

SCHEMA = 1
# Seconds a byte of a transfer whose time does not grow with its size.
FREE = 1e-15
# A backward pass is predicted to take twice the time of a forward pass.
PASSES = 3.0
STREAM_BYTES = 12.0  # two arrays read, one written
# Launches of a small layer in the convention of ``workloads.py``, forward and backward.
LAYER_LAUNCHES = (LAUNCHES + 2.0) * (1.0 + float(FLOAT32.backward_launches))
# A ring's all-gather moves half of what its all-reduce does.
NAMES = ("product_flops_s", "ramp_s", "narrow", "stream_bytes_s", "launch_s", "all_reduce_s",
         "all_reduce_bytes_s", "hop_s", "hop_bytes_s", "contention", "step_s", "update_bytes",
         "attention_share", "curve_s", "norm_s", "call_slowdown")
# What releases took them for that did not measure them.
UNMEASURED = {"attention_share": 1.0, "curve_s": 0.0, "norm_s": 0.0, "call_slowdown": 1.0}
# Lower values are taken for this much, because logarithms are what varies.
LEAST = 1e-14
# By how much a constant differs between calibrations of the same machine.
SPREAD = 0.05


@dataclass(frozen=True)
class Constants:
    """What was measured of one framework and engine on this machine.

    Attributes:
        framework: Name of the adapter.
        engine: Its engine.
        mode: ``eager`` or ``compiled``.
        device: ``cpu`` or ``cuda``.
        devices: How many devices ran at the same time.
        measured_at: When, as ISO 8601.
        values: A number for each of ``NAMES``.
        reserved_bytes: Memory of a worker that has no model but has run every operation.
        errors: Mean relative error of the products, and of the all-reduces, that the constants
            leave.
    """

    framework: str
    engine: str
    mode: str
    device: str
    devices: int
    measured_at: str
    values: dict[str, float]
    reserved_bytes: float
    errors: dict[str, float]

    @property
    def lacking(self) -> list[str]:
        """Names of constants that the release which measured these did not know."""
        return [name for name in NAMES if name not in self.values]

    @property
    def name(self) -> str:
        """``pytorch eager on cpu``."""
        return f"{label(self.framework, self.engine)} {self.mode} on {self.device}"


def fit_products(operations: Sequence[dict[str, Any]]) -> tuple[float, float, float, float]:
    """Rate, ramp and narrow length that make a product's seconds, and the mean error left.

    A product is the mean of those that a layer makes of these lengths, forward and backward.

    Relative errors are made small, since products span orders of magnitude.
    """
    from scipy.optimize import least_squares

    sizes = [[float(length) for length in one["size"]] for one in operations]
    products = [Product(rows, inner, outer) for rows, inner, outer in sizes]
    seconds = np.array([one["seconds"] for one in operations])

    def predicted(theta: Array) -> Array:
        rate, ramp, narrow = np.exp(theta)
        machine = _machine(rate, ramp, narrow, 1e15)
        return np.array([float(product_seconds(p, 1.0, 1.0, machine, 4.0)) for p in products])

    rate = max(2.0 * p.rows * p.inner * p.outer / s
               for p, s in zip(products, seconds, strict=True))
    found = least_squares(
        lambda theta: np.log(predicted(theta) / seconds), np.log([rate, 5e-6, 4.0]),
        bounds=(np.log([rate / 10, 1e-8, 1e-2]), np.log([rate * 4, 1e-3, 256.0])))
    left = float(np.mean(np.abs(predicted(found.x) / seconds - 1.0)))
    return (*map(float, np.exp(found.x)), left)  # type: ignore[return-value]


def _machine(rate: float, ramp: float, narrow: float, stream: float) -> Machine:
    nowhere = Link(0.0, 1e15)
    return Machine("", rate, ramp, narrow, stream, launch_s=0.0, inside=nowhere, between=nowhere,
                   devices_per_node=1, memory_bytes=0)


def constants_of(
    records: Sequence[dict[str, Any]], whose: dict[str, Any], measured_at: str
) -> Constants:
    """Constants from the records of a calibration's ranks.

    Args:
        records: What ``suite.ranks.operations`` left, a record a rank.
        whose: Framework, engine, mode, device and devices.
        measured_at: When, as ISO 8601.

    Returns:
        The constants; operations are as slow as on the slowest rank, which a step waits for.
    """
    operations = _slowest(records)
    products = [one for one in operations if one["kind"] == "product"]
    rate, ramp, narrow, left = fit_products(products)
    (stream,) = [one for one in operations if one["kind"] == "stream"]
    (attention,) = [one for one in operations if one["kind"] == "attention"]
    (activation,) = [one for one in operations if one["kind"] == "activation"]
    (norm,) = [one for one in operations if one["kind"] == "norm"]
    (layers,) = [one for one in operations if one["kind"] == "layers"]
    small, large = [one for one in operations if one["kind"] == "update"]
    stream_rate = STREAM_BYTES * stream["size"][0] / stream["seconds"]
    launch = layers["seconds"] / layers["size"][1] / LAYER_LAUNCHES
    per_parameter = (large["seconds"] - small["seconds"]) / (large["size"][0] - small["size"][0])
    links, link_error = _links(records, whose)
    values = {
        "product_flops_s": rate, "ramp_s": ramp, "narrow": narrow,
        "stream_bytes_s": stream_rate, "launch_s": launch,
        **links, "contention": float(np.median([r["contention"] for r in records])),
        "call_slowdown": float(np.median([r["call_slowdown"] for r in records])),
        "step_s": small["seconds"], "update_bytes": max(per_parameter, 0.0) * stream_rate,
        "attention_share": _attention_share(attention, _machine(rate, ramp, narrow, 1e15)),
        "curve_s": _beyond_streaming(activation, stream_rate),
        "norm_s": _beyond_streaming(norm, stream_rate),
    }
    return Constants(
        **whose, measured_at=measured_at, values=values,
        reserved_bytes=float(max(r["resident_bytes"] for r in records)),
        errors={"products": left, "all_reduce": link_error},
    )


def _attention_share(attention: dict[str, Any], machine: Machine) -> float:
    """Rate of attention's two products over that of other products, softmax among its time."""
    heads, tokens, width = map(float, attention["size"])
    scores = Product(tokens, width, tokens, heads, "count", True, fused=1.0)
    values = Product(tokens, tokens, width, heads, "count", True, fused=1.0)
    alone = sum(float(product_seconds(one, 1.0, 1.0, machine, 4.0)) for one in (scores, values))
    return float(PASSES * alone / attention["seconds"])


def _beyond_streaming(operation: dict[str, Any], stream_bytes_s: float) -> float:
    """Seconds of an element forward, beyond those in which it is read and written in float32."""
    each = operation["seconds"] / PASSES / prod(operation["size"])
    return float(max(0.0, each - 2.0 * 4.0 / stream_bytes_s))


def _slowest(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = zip(*(record["operations"] for record in records), strict=True)
    return [{**same[0], "seconds": max(one["seconds"] for one in same)} for same in rows]


def _links(
    records: Sequence[dict[str, Any]], whose: dict[str, Any]
) -> tuple[dict[str, float], float]:
    """Delays and bandwidths on the wire of all-reduce and hop, from the calls beside computing."""
    samples = [
        {"framework": whose["framework"], "engine": whose["engine"],
         "backend": record["backend"], "transport": record["transport"],
         "devices": record["participants"][sample["collective"]]} | sample
        for record in records for sample in record["samples"]
    ]
    fits = {fit.collective: fit for fit in fit_links(samples)}
    reduced = fits["all_reduce"]
    hop = fits.get("send_recv") or reduced
    n = float(whose["devices"])
    # The ring's formula, solved for what it is made of: a call has 2 (n - 1) delays.
    found = {
        "all_reduce_s": _at_least(reduced.latency_s, 0.0) / (2.0 * (n - 1.0)),
        "all_reduce_bytes_s": 2.0 * (n - 1.0) / n / _at_least(reduced.alpha_s_per_byte, FREE),
        "hop_s": _at_least(hop.latency_s, 0.0),
        "hop_bytes_s": 1.0 / _at_least(hop.alpha_s_per_byte, FREE),
    }
    return found, float(reduced.heldout_error_mean or 0.0)


def _at_least(value: float | None, least: float) -> float:
    """A slope or delay that noise, or a hop that moves only a pointer, made smaller than can be."""
    return least if value is None else max(float(value), least)


def posterior_of(
    constants: Constants, memory_bytes: float, error: float,
    rehearsals: Sequence[Rehearsal] = (), rehearsed_error: float = 0.0,
) -> Posterior:
    """The machine at hand, with the interval that repeated calibrations and past steps suggest.

    Args:
        constants: What was measured.
        memory_bytes: Memory of a device; 0 if unknown.
        error: Standard deviation of the logarithm of measured over predicted steps.
        rehearsals: Trainings of a shallow model in the same framework and engine.
        rehearsed_error: The error of steps that were rehearsed.

    Returns:
        Constants and their spread; every one has a standard deviation of ``SPREAD``.
    """
    values = UNMEASURED | constants.values
    theta = np.log([max(values[name], LEAST) for name in NAMES])

    def make(logarithms: Array) -> Stack:
        stack = _stack(constants, dict(zip(NAMES, np.exp(logarithms), strict=True)), memory_bytes)
        return replace(stack, rehearsed=rehearsed_ways(rehearsals, stack))

    return Posterior(make, theta, np.eye(len(theta)) * SPREAD**2, error, 0, rehearsed_error)


def _stack(constants: Constants, c: dict[str, float], memory_bytes: float) -> Stack:
    inside = Link(c["all_reduce_s"], c["all_reduce_bytes_s"])
    machine = Machine(
        constants.name, c["product_flops_s"], c["ramp_s"], c["narrow"], c["stream_bytes_s"],
        launch_s=c["launch_s"], inside=inside, between=inside,
        devices_per_node=constants.devices, memory_bytes=memory_bytes,
        attention_share=c["attention_share"], curve_s=c["curve_s"], norm_s=c["norm_s"],
        contention=c["contention"], call_slowdown=c["call_slowdown"], step_s=c["step_s"],
        reserved_bytes=constants.reserved_bytes, synchronous=constants.device == "cpu",
        hop=Link(c["hop_s"], c["hop_bytes_s"]),
    )
    return Stack(machine, replace(FLOAT32, update_bytes=c["update_bytes"]))


def write_constants(path: Path, found: Sequence[Constants]) -> None:
    """Stores constants, each with the date of its measurement."""
    write_kept(path, "constants", SCHEMA, [asdict(one) for one in found])


def read_constants(path: Path) -> list[Constants]:
    """The constants that ``write_constants`` stored; none if there is no such file.

    Raises:
        UsageError: The file is not one of these.
    """
    return read_kept(path, "constants", SCHEMA, lambda one: Constants(**one),
                     "measure again: python -m suite predict --calibrate")
