"""Training a workload in one process on one device; strategies override the pieces that differ."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapters.pytorch.models import build_model, loss_function, to_canonical, torch_name
from adapters.pytorch.training.matmul_rate import matmul_flops_s
from adapters.pytorch.training.number_format import (
    autocast,
    in_float32,
    parameter_type,
    set_products,
)
from adapters.pytorch.training.number_format import describe as describe_precision
from adapters.pytorch.training.probe import Probe
from adapters.pytorch.training.profile import gpu_trace, profile
from suite.contract.adapter import Inputs, StepTrace, switch
from suite.contract.case import Case, Rank
from suite.contract.planned_loss import planned_loss
from suite.contract.resident_memory import peak_resident_bytes, reset_peak_resident
from suite.contract.workloads import Weights


def open_device(case: Case, rank: Rank) -> torch.device:
    """This rank's device, with one thread and the arithmetic of the case; GPUs may be shared.

    A GPU's number counts those that CUDA_VISIBLE_DEVICES leaves.
    """
    torch.set_num_threads(1)
    set_products(case.dtype)
    if case.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "CUDA does not load" if torch.version.cuda else "built without CUDA"
        raise RuntimeError(f"torch sees no GPU: {why}")
    device = torch.device("cuda", rank.index % torch.cuda.device_count())
    torch.cuda.set_device(device)
    if case.memory_limit_bytes:
        whole = torch.cuda.get_device_properties(device).total_memory
        share = min(1.0, case.memory_limit_bytes / whole)
        torch.cuda.set_per_process_memory_fraction(share, device)
    return device


class Training:
    """A whole session of the single strategy."""

    silent = False
    leaves = False  # whether what the model returns goes to another rank in its low format
    units: range | None = None  # of the workload that the model here has; None is all of them

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.case, self.rank, self.device = case, rank, device
        self.spec = case.spec
        self.names = list(weights)
        self.low = case.dtype == "bf16"
        loss = loss_function(self.spec)
        self.loss_function = planned_loss(in_float32(loss) if self.low else loss, case)
        self.dtype = parameter_type(case.dtype)
        self.batches = [
            tuple(self._tensor(part) for part in self.local_batch(*inputs.at(index)))
            for index in range(inputs.count)
        ]
        self.probe: Probe | None = None
        self.model = self.build(weights)
        self.optimizer: Any = self.make_optimizer()

    def _tensor(self, array: Any) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else torch.long)

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """The part of the global batch that this rank computes on."""
        return features, targets

    def build(self, weights: Weights) -> nn.Module:
        model = build_model(self.spec, weights, self.units).to(self.built_on, self.dtype)
        if self.low:
            autocast(model, self.device.type, self.leaves)
        if self.case.mode == "compiled":
            model.compile()
        return model

    @property
    def built_on(self) -> torch.device:
        """Where the model is before a strategy splits it."""
        return self.device

    def make_optimizer(self) -> torch.optim.Optimizer:
        """torch's Adam is the written formula: epsilon is added after bias correction."""
        adam = self.spec.optimizer
        return torch.optim.Adam(
            self.trained(),
            lr=adam.learning_rate,
            betas=(adam.beta1, adam.beta2),
            eps=adam.epsilon,
            fused=True,
        )

    def trained(self) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
        """What the optimiser updates, or groups of it."""
        return self.model.parameters()

    def forward_backward(self, index: int) -> torch.Tensor:
        """Gradients of the batch into ``.grad``; the loss, detached."""
        features, targets = self.batches[index % len(self.batches)]
        parts = max(self.case.accumulate, self.case.statistics_groups)
        if parts > 1:
            return self._accumulate(features, targets, parts)
        loss = self.loss_function(self.model(features), targets)
        loss.backward()
        return loss.detach()

    def _accumulate(
        self, features: torch.Tensor, targets: torch.Tensor, parts: int
    ) -> torch.Tensor:
        """Equal contiguous micro-batches one by one, each with its share of the mean loss."""
        total = torch.zeros((), dtype=self.dtype, device=self.device)
        micro = zip(features.chunk(parts), targets.chunk(parts), strict=True)
        for number, (x, y) in enumerate(micro, start=1):
            with self.gradients_stay(number < parts):
                loss = self.loss_function(self.model(x), y) / parts
                loss.backward()
            total += loss.detach()
        return total

    def gradients_stay(self, here: bool) -> AbstractContextManager[None]:
        """Where a backward pass leaves gradients on their device if ``here``: more follow."""
        return nullcontext()

    def step(self, index: int) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self.forward_backward(index)
        self.optimizer.step()
        return loss

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def loss(self, handle: torch.Tensor) -> float:
        return float(handle)

    def gradients(self) -> Weights:
        held = self.named_parameters().items()
        return self.full({name: p.grad for name, p in held if p.grad is not None})

    def parameters(self) -> Weights:
        return self.full(self.named_parameters())

    def named_parameters(self) -> dict[str, torch.Tensor]:
        """Canonical name -> what this rank holds of it."""
        held = {name: p for module in self.modules() for name, p in module.named_parameters()}
        return {name: held[torch_name(name)] for name in self.names if torch_name(name) in held}

    def modules(self) -> Sequence[nn.Module]:
        """Where parameters' names start; a device of an interleaved pipeline has several."""
        return [self.model]

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        """Whole arrays in canonical layout, one by one: a GPU need not hold all of them."""
        return {name: to_canonical(name, self.whole(name, one)) for name, one in tensors.items()}

    def whole(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Of what this rank holds of a tensor; strategies that split tensors gather here."""
        return tensor

    def timed_step(self, index: int) -> StepTrace:
        with self.watched():
            probe = self.probe = Probe(self.device)
            self.step(index)
            self.synchronize()
        self.probe = None
        return probe.finish()

    def watched(self) -> AbstractContextManager[None]:
        """Where ``self.probe`` sees every communication; a strategy attaches its probes here."""
        return nullcontext()

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        with profile(self.device) as profiler:
            began = time.perf_counter()
            self.step(index)
            self.synchronize()
            ended = time.perf_counter()
        on_gpu = self.device.type == "cuda"
        trace = gpu_trace(profiler, began, ended) if on_gpu else StepTrace()
        if timeline:
            profiler.export_chrome_trace(str(timeline))
        return replace(trace, seconds=ended - began)

    def silent_step(self, index: int) -> None:
        with self.silenced():
            self.step(index)
            self.synchronize()

    def silenced(self) -> AbstractContextManager[None]:
        """Where no communication happens: what issues one looks at ``silent``."""
        return _silent(self)

    def agree(self, ready: bool) -> bool:
        return ready

    def reset_peak_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            reset_peak_resident()

    def peak_memory_bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_resident_bytes()

    def device_memory_bytes(self) -> int:
        if self.device.type != "cuda":
            return 0
        free, total = torch.cuda.mem_get_info(self.device)
        return total - free

    def matmul_flops_s(self) -> float:
        try:
            return matmul_flops_s(self.device, self.case.dtype)
        except torch.OutOfMemoryError:  # the model fits, and three matrices beside it do not
            return 0.0

    def describe(self) -> dict[str, str]:
        return {
            "torch": torch.__version__,
            "backend": "none",
            "threads_per_device": str(torch.get_num_threads()),
            "onednn": switch(torch.backends.mkldnn.is_available()),
            # A CPU has no TF32, whatever the switch says.
            "tf32": switch(
                self.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
            ),
            "determinism": switch(torch.are_deterministic_algorithms_enabled()),
            "dtype": self.case.dtype,
            "mode": self.case.mode,
        } | describe_precision(self.case.dtype)

    def close(self) -> None:
        """Nothing is shared with another process."""


@contextmanager
def _silent(session: Training) -> Iterator[None]:
    session.silent = True
    try:
        yield
    finally:
        session.silent = False
