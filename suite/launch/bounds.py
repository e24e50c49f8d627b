"""How long a launch may take: the user's timeout, or more where a large model needs more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from suite.contract.case import PARITY_STEPS, Case
from suite.contract.probing import MOST_SECONDS
from suite.machine.calibration import measure_cores
from suite.machine.gpu_peaks import datasheet_flops
from suite.machine.gpus import Gpu, usable_gpus

# A bound is no forecast: steps may reach a quarter of the matrix-product rate, and no less.
ALLOWANCE = 4.0
# What every core exceeds: a model that is soon done at this rate needs no measurement.
SLOW_CORE_FLOPS_S = 4e9
# Beside the timed and silent steps that are counted: three traced ones and the first silent one.
OTHER_STEPS = 4


class Bounds:
    """What cases need at least on the devices of this machine.

    Args:
        cores: The cores of the run; the first one is measured when a large model asks for it.
        timeout: Seconds that the user lets a launch take.
    """

    def __init__(self, cores: Sequence[int], timeout: float) -> None:
        self.cores, self.timeout = cores, timeout

    @cached_property
    def gpus(self) -> list[Gpu]:
        """The GPUs that this process may use."""
        return usable_gpus()

    @cached_property
    def _core_flops_s(self) -> float:
        """The rate of float32 matrix products of the first core; 0 if it could not be measured."""
        return max((rate.matmul_flops_s for rate in measure_cores(self.cores[:1])), default=0.0)

    def device_flops_s(self, device: str, dtype: str) -> float:
        """Returns the rate that one device does not exceed; 0 if unknown.

        A core's rate is measured, and half of it taken for float64; a GPU's is its datasheet's.
        """
        if device == "cpu":
            return self._core_flops_s / _lanes(dtype)
        if not self.gpus:
            return 0.0
        first = self.gpus[0]
        return datasheet_flops(first.name, first.multiprocessors).get(dtype, 0.0)

    def least_seconds(self, case: Case, steps: int) -> float:
        """Returns the seconds of training steps at the devices' full rate; 0 if that is unknown."""
        flops = case.spec.flops_per_sample() * case.spec.global_batch * steps
        rate = case.devices * self.device_flops_s(case.device, case.dtype)
        return flops / rate if rate else 0.0

    def slow_seconds(self, case: Case, steps: int) -> float:
        """Returns the seconds of training steps at a rate that every device exceeds.

        Nothing is measured for it: what is within a limit at this rate is within it anyway.
        """
        flops = case.spec.flops_per_sample() * case.spec.global_batch * steps
        return flops * _lanes(case.dtype) / (SLOW_CORE_FLOPS_S * case.devices)

    def launch_seconds(self, case: Case) -> float:
        """Returns the seconds that a launch may take: the timeout, or what its steps need."""
        steps = max(case.warmup_limit, PARITY_STEPS) + case.steps
        if case.probe_steps:
            steps += 2 * case.probe_steps + OTHER_STEPS
        more_s = MOST_SECONDS if case.probe_steps and case.probe_precision else 0.0
        if ALLOWANCE * self.slow_seconds(case, steps) <= self.timeout:
            return self.timeout
        return max(self.timeout, round(ALLOWANCE * self.least_seconds(case, steps)) + more_s)


def _lanes(dtype: str) -> int:
    """How many times as long a core takes for products in a format as in float32, at least."""
    return 2 if dtype == "float64" else 1
