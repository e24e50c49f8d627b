"""The session that trains a workload on a single device.

Every other strategy derives from it and overrides what it does differently.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from adapters.pytorch.models import build_model, loss_function, to_canonical, torch_name
from adapters.pytorch.training.joined_loss import join_loss
from adapters.pytorch.training.measured import Measured
from adapters.pytorch.training.number_format import (
    LOW,
    autocast,
    parameter_type,
    set_products,
)
from adapters.pytorch.training.recompute import recompute_units
from suite.contract.adapter import Inputs
from suite.contract.case import Case, Rank
from suite.contract.planned_loss import planned_loss
from suite.contract.workloads import Weights


def open_device(case: Case, rank: Rank) -> torch.device:
    """Prepares this rank's device: a single thread, the case's number format, its memory limit.

    Args:
        case: The case.
        rank: This worker. If there are more ranks than GPUs, ranks share them.

    Returns:
        The device; a GPU's number counts only the GPUs that CUDA_VISIBLE_DEVICES shows.

    Raises:
        RuntimeError: The case wants a GPU and PyTorch cannot use any.
    """
    torch.set_num_threads(1)
    set_products(case.dtype)
    if case.device == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "CUDA does not load" if torch.version.cuda else "built without CUDA"
        raise RuntimeError(f"torch sees no GPU: {why}")
    local = int(os.environ.get("LOCAL_RANK", rank.index))
    device = torch.device("cuda", local % torch.cuda.device_count())
    torch.cuda.set_device(device)
    if case.memory_limit_bytes:
        whole = torch.cuda.get_device_properties(device).total_memory
        share = min(1.0, case.memory_limit_bytes / whole)
        torch.cuda.set_per_process_memory_fraction(share, device)
    return device


class Training(Measured):
    """Trains on a single device: implements ``suite.contract.adapter.Session``.

    Args:
        case: The case.
        rank: This worker.
        weights: Initial weights in canonical layout.
        inputs: The global batches.
        device: The device from ``open_device``.
    """

    leaves = False  # whether another rank receives the model's output, in bfloat16 if case is bf16
    units: range | None = None  # the units of this stage; None is the whole model

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.case, self.rank, self.device = case, rank, device
        self.spec = case.spec
        self.names = list(weights)
        self.low = case.dtype == "bf16"
        self.loss_function = planned_loss(loss_function(self.spec), case)
        # A pipeline's schedule calls the loss by itself.
        self.joined = case.mode == "compiled" and "inter_layer" not in case.axes.names
        if case.mode == "compiled" and not self.joined:
            # The cast to float32, the softmax and the sum become one pass over the logits.
            self.loss_function = torch.compile(self.loss_function)
        self.dtype = parameter_type(case.dtype)
        self.batches = [self.local(*inputs.at(index)) for index in range(inputs.count)]
        self.model = self.build(weights)
        self.optimizer: Any = self.make_optimizer()

    def local(self, features: Any, targets: Any) -> tuple[torch.Tensor, ...]:
        """Returns this rank's part of a global batch, on its device.

        Features of a bf16 case are rounded here: autocast would do it in every step.
        """
        x, y = (self._tensor(part) for part in self.local_batch(features, targets))
        return x.to(LOW) if self.low and x.is_floating_point() else x, y

    def _tensor(self, array: Any) -> torch.Tensor:
        """Copies an array to the device; whole numbers become int64."""
        tensor = torch.from_numpy(array)
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else torch.long)

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """Returns the samples of a global batch that this rank trains on; all of them here."""
        return features, targets

    def build(self, weights: Weights) -> nn.Module:
        """Builds the model, in the number format and mode (eager or compiled) of the case."""
        model = build_model(self.spec, weights, self.units).to(self.built_on, self.dtype)
        if self.case.recomputes:
            recompute_units(model)
        if self.low:
            autocast(model, self.device.type, self.leaves)
        if self.joined:
            join_loss(model, self.loss_function)
        if self.case.mode == "compiled":
            model.compile()
        return model

    @property
    def built_on(self) -> torch.device:
        """The device on which the model is built, before a strategy splits it."""
        return self.device

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Makes PyTorch's Adam, which adds epsilon after bias correction, as the formula does."""
        adam = self.spec.optimizer
        return torch.optim.Adam(
            self.trained(),
            lr=adam.learning_rate,
            betas=(adam.beta1, adam.beta2),
            eps=adam.epsilon,
            fused=True,
        )

    def trained(self) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
        """Returns the parameters that the optimiser updates, or groups of them."""
        return self.model.parameters()

    def forward_backward(self, index: int) -> torch.Tensor:
        """Runs the forward and backward pass; gradients go into ``.grad``.

        Args:
            index: Number of the global batch.

        Returns:
            The mean loss of this rank's samples, detached.
        """
        features, targets = self.batches[index % len(self.batches)]
        parts = max(self.case.accumulate, self.case.statistics_groups)
        if parts > 1:
            return self._accumulate(features, targets, parts)
        loss = self.mean_loss(features, targets)
        loss.backward()
        return loss.detach()

    def mean_loss(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Runs the forward pass; a compiled model computes its loss in the same graph.

        Args:
            features: (samples, …) of this rank.
            targets: (samples, …) of this rank.

        Returns:
            The mean loss of the samples.
        """
        if self.joined:
            return self.model(features, targets)
        return self.loss_function(self.model(features), targets)

    def _accumulate(
        self, features: torch.Tensor, targets: torch.Tensor, parts: int
    ) -> torch.Tensor:
        """Accumulates gradients over ``parts`` equal micro-batches; returns their mean loss."""
        total = torch.zeros((), dtype=self.dtype, device=self.device)
        micro = zip(features.chunk(parts), targets.chunk(parts), strict=True)
        for number, (x, y) in enumerate(micro, start=1):
            with self.gradients_stay(number < parts):
                loss = self.mean_loss(x, y) / parts
                loss.backward()
            total += loss.detach()
        return total

    def gradients_stay(self, here: bool) -> AbstractContextManager[None]:
        """Context in which a backward pass does not communicate gradients if ``here`` is true.

        That is so while more micro-batches follow; a strategy that communicates overrides it.
        """
        return nullcontext()

    def step(self, index: int) -> torch.Tensor:
        """Trains on global batch ``index``; returns the loss without waiting for it."""
        self.optimizer.zero_grad()
        loss = self.forward_backward(index)
        self.optimizer.step()
        return loss

    def loss(self, handle: torch.Tensor) -> float:
        """Returns the mean loss of the global batch from what ``step`` returned."""
        return float(handle)

    def gradients(self) -> Weights:
        """Returns the whole gradients of the last step, in canonical layout."""
        named = self.named_parameters().items()
        return self.full({name: p.grad for name, p in named if p.grad is not None})

    def parameters(self) -> Weights:
        """Returns the whole parameters, in canonical layout."""
        return self.full(self.named_parameters())

    def named_parameters(self) -> dict[str, torch.Tensor]:
        """Returns canonical name to the parameter, or the shard of it, that this rank holds."""
        local = {name: p for module in self.modules() for name, p in module.named_parameters()}
        return {name: local[torch_name(name)] for name in self.names if torch_name(name) in local}

    def modules(self) -> Sequence[nn.Module]:
        """Returns the models of this rank; a rank of an interleaved pipeline has several."""
        return [self.model]

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        """Gathers whole tensors and copies them to arrays in canonical layout.

        It goes tensor by tensor, so that a GPU never has to hold all of them at once.

        Args:
            tensors: Canonical name to this rank's tensor or shard.

        Returns:
            Canonical name to the whole array.
        """
        return {name: to_canonical(name, self.whole(name, t)) for name, t in tensors.items()}

    def whole(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Returns the whole tensor; strategies that shard tensors gather the shards here."""
        return tensor

    def agree(self, ready: bool) -> bool:
        """Whether all ranks are ready; there is only this rank."""
        return ready

    def exchange(self, told: Any) -> list[Any]:
        """Returns what every rank tells; there is only this rank."""
        return [told]

    def close(self) -> None:
        """Does nothing: there is no process group to leave."""
