"""Calibrates the constants of a stack from a few measured steps, and says how sure it is.

Where a machine is at hand its constants are measured (``suite predict --calibrate``). Of a
published table only steps are known. Its few calibration rows then move the constants away from
what the datasheet suggests, as far as they say more than it does: maximum a posteriori, a
log-normal prior for each constant (Gelman et al., Bayesian Data Analysis, section 4.1). The same
posterior gives every prediction its interval; without a row it is the datasheet's range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import numpy as np

from suite.foresight.hardware import Device
from suite.foresight.machine import Link, Machine, Software, Stack
from suite.foresight.units import Array

# A measured step is right to about this share, formula and clock together.
LEAST_ERROR = 0.05
# Of a device and a program of which nothing was measured, as the median over the stacks of
# data/published.csv: their root mean square error without any calibration is 21 %.
DATASHEET_ERROR = 0.21
# Two-sided 90 % of a normal distribution.
NINETY = 1.645


@dataclass(frozen=True)
class Prior:
    """A constant before any measurement: its median, and the standard deviation of its logarithm.

    Two thirds of machines lie within ``median / exp(spread)`` and ``median * exp(spread)``.
    """

    name: str
    median: float
    spread: float


# Shares of the datasheet's rates, and delays of a datacenter's GPU. The first five medians are
# what public measurements of single operations show: 80 % of peak for the best products
# (stas00/ml-engineering, MAMF: 271 of 312 TFLOP/s on A100, 795 of 989 on H100), 75 to 85 % of
# memory and link rates in the sweeps of BabelStream and nccl-tests, and microseconds a launch.
PRIORS = (
    Prior("product_share", 0.75, 0.12),
    Prior("ramp_s", 4e-6, 0.6),
    Prior("narrow", 24.0, 0.6),
    Prior("attention_share", 1.0, 0.35),
    Prior("stream_share", 0.75, 0.25),
    Prior("launch_s", 12e-6, 0.6),
    Prior("inside_share", 0.75, 0.3),
    Prior("inside_latency_s", 8e-6, 0.7),
    Prior("between_share", 0.6, 0.5),
    Prior("between_latency_s", 20e-6, 0.7),
    Prior("contention_excess", 0.1, 0.7),
    Prior("step_s", 3e-3, 1.0),
)
MEDIANS = np.log([prior.median for prior in PRIORS])
SPREADS = np.array([prior.spread for prior in PRIORS])


@dataclass(frozen=True)
class Base:
    """What a stack's constants are shares of."""

    device: Device
    dtype: str
    devices_per_node: float
    software: Software


def stack_of(base: Base, theta: Array) -> Stack:
    """The stack that the logarithms ``theta`` of the constants in ``PRIORS`` describe.

    Where the device's own share of a rate was measured, it takes the place of the prior's median.
    """
    device, peak = base.device, base.device.peak(base.dtype)
    c = {prior.name: value * (getattr(device, prior.name, 0.0) / prior.median or 1.0)
         for prior, value in zip(PRIORS, np.exp(theta), strict=True)}
    between = device.between_bytes_s or 25e9
    machine = Machine(
        name=device.name, product_flops_s=c["product_share"] * peak,
        ramp_s=c["ramp_s"], narrow=c["narrow"],
        attention_share=c["attention_share"] * base.software.attention_rate,
        sixteen_bit_share=device.peak("bf16") / peak if base.dtype == "fp8" else 1.0,
        stream_bytes_s=c["stream_share"] * device.memory_bytes_s, launch_s=c["launch_s"],
        inside=Link(c["inside_latency_s"], c["inside_share"] * device.inside_bytes_s),
        between=Link(c["between_latency_s"], c["between_share"] * between),
        devices_per_node=base.devices_per_node, memory_bytes=device.memory_bytes,
        contention=1.0 + c["contention_excess"], step_s=c["step_s"],
    )
    return Stack(machine, base.software)


Predictor = Callable[[Stack], Array]
Maker = Callable[[Array], Stack]


@dataclass(frozen=True)
class Posterior:
    """Constants after calibration.

    Attributes:
        make: Makes a stack of the logarithms of its constants.
        theta: Logarithms of the constants.
        covariance: Of these logarithms.
        error: Standard deviation of the logarithm of measured over predicted.
        rows: How many rows calibrated them.
        rehearsed_error: The same as ``error``, of ways whose split was rehearsed.
    """

    make: Maker
    theta: Array
    covariance: Array
    error: float
    rows: int
    rehearsed_error: float = 0.0

    @cached_property
    def stack(self) -> Stack:
        """Machine and software with these constants."""
        return self.make(self.theta)

    def spread(self, predictor: Predictor, rehearsed: Array | float = 0.0) -> Array:
        """Standard deviation of the logarithm of each predicted figure, by linear propagation.

        Args:
            predictor: Gives the figures for a stack, (figures,).
            rehearsed: 1 where a figure's very split was rehearsed, (figures,).
        """
        jacobian = _jacobian(self.make, self.theta, predictor)
        variance = np.einsum("ij,jk,ik->i", jacobian, self.covariance, jacobian)
        error = np.where(np.asarray(rehearsed) == 1.0, self.rehearsed_error, self.error)
        return cast(Array, np.sqrt(variance + error**2))

    def interval(
        self, predictor: Predictor, rehearsed: Array | float = 0.0
    ) -> tuple[Array, Array]:
        """The 90 % interval of each figure; arguments as for ``spread``."""
        middle = np.log(predictor(self.stack))
        reach = NINETY * self.spread(predictor, rehearsed)
        return np.exp(middle - reach), np.exp(middle + reach)


def _jacobian(make: Maker, theta: Array, predictor: Predictor, step: float = 1e-3) -> Array:
    middle = np.log(predictor(make(theta)))
    columns = []
    for number in range(len(theta)):
        moved = theta.copy()
        moved[number] += step
        columns.append((np.log(predictor(make(moved))) - middle) / step)
    return np.stack(columns, axis=1)


def from_datasheet(base: Base) -> Posterior:
    """A device of which no step was measured: the priors, with all that they leave open."""
    spread = np.diag(SPREADS**2)
    return Posterior(partial(stack_of, base), MEDIANS.copy(), spread, DATASHEET_ERROR, 0)


def calibrated(base: Base, predictor: Predictor, measured_s: Sequence[float] | Array) -> Posterior:
    """Calibrates a stack from measured steps.

    Args:
        base: Device and software.
        predictor: Gives the seconds of these steps for a stack, (rows,).
        measured_s: The measured seconds, (rows,).

    Returns:
        The constants, their covariance and the error that remains.
    """
    from scipy.optimize import least_squares  # predictions from known constants do without

    measured = np.log(np.asarray(measured_s, dtype=float))
    # Whether host or device is the bottleneck changes how a step answers to a constant: the search
    # starts on both sides.

    def distance(theta: Array) -> Array:
        residuals = (np.log(predictor(stack_of(base, theta))) - measured) / LEAST_ERROR
        return np.concatenate([_damped(residuals), (theta - MEDIANS) / SPREADS])

    starts = [MEDIANS, np.where([p.name == "launch_s" for p in PRIORS], MEDIANS + 1.0, MEDIANS)]
    tries = [least_squares(distance, start, diff_step=1e-3, max_nfev=40) for start in starts]
    found = min(tries, key=lambda one: float(one.cost))
    residuals = np.log(predictor(stack_of(base, found.x))) - measured
    error = max(float(np.sqrt(np.mean(residuals**2))), LEAST_ERROR)
    weights = np.concatenate([np.full(len(measured), LEAST_ERROR / error), np.ones(len(MEDIANS))])
    jacobian = found.jac * weights[:, None]
    covariance = np.linalg.inv(jacobian.T @ jacobian)
    return Posterior(partial(stack_of, base), found.x, covariance, error, len(measured))


def _damped(residuals: Array) -> Array:
    """Residuals whose square grows linearly beyond one: a published outlier pulls no harder.

    The pseudo-Huber loss (Charbonnier et al. 1997).
    """
    return cast(Array, np.sign(residuals) * np.sqrt(2.0 * (np.sqrt(1.0 + residuals**2) - 1.0)))
