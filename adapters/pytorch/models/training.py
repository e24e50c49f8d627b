"""Training a workload in one process on one device; strategies override the pieces that differ."""

from __future__ import annotations

import resource
import time
from typing import Any

import torch
from torch import nn

from adapters.pytorch.models import build_model, loss_function, to_canonical, torch_name
from suite.spec.adapter import CommEvent, Inputs, StepTrace
from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


def open_device(case: Case, rank: Rank) -> torch.device:
    """This rank's device, with one thread and the same arithmetic everywhere: TF32 off."""
    torch.set_num_threads(1)
    if case.device == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", rank.index)
    torch.cuda.set_device(device)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return device


class Training:
    """A whole session of the single strategy."""

    def __init__(
        self, case: Case, rank: Rank, weights: Weights, inputs: Inputs, device: torch.device
    ) -> None:
        self.case, self.rank, self.device = case, rank, device
        self.spec = case.spec
        self.names = list(weights)
        self.loss_function = loss_function(self.spec)
        self.dtype = getattr(torch, case.dtype)
        self.batches = [
            tuple(self._tensor(part) for part in self.local_batch(*inputs.at(index)))
            for index in range(inputs.count)
        ]
        self.events: list[CommEvent] = []
        self.model = self.build(weights)
        self.optimizer: Any = self.make_optimizer()

    def _tensor(self, array: Any) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else torch.long)

    def local_batch(self, features: Any, targets: Any) -> tuple[Any, Any]:
        """The part of the global batch that this rank computes on."""
        return features, targets

    def build(self, weights: Weights) -> nn.Module:
        model = build_model(self.spec, weights).to(self.device, self.dtype)
        if self.case.mode == "compiled":
            model.compile()
        return model

    def make_optimizer(self) -> torch.optim.Optimizer:
        """torch's Adam is the written formula: epsilon is added after bias correction."""
        adam = self.spec.optimizer
        return torch.optim.Adam(
            self.model.parameters(),
            lr=adam.learning_rate,
            betas=(adam.beta1, adam.beta2),
            eps=adam.epsilon,
        )

    def forward_backward(self, index: int) -> torch.Tensor:
        """Gradients of the batch into ``.grad``; the loss, detached."""
        features, targets = self.batches[index % len(self.batches)]
        loss = self.loss_function(self.model(features), targets)
        loss.backward()
        return loss.detach()

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

    def gradients(self, index: int) -> Weights:
        self.optimizer.zero_grad()
        self.forward_backward(index)
        found = {name: p.grad for name, p in self.named_parameters().items() if p.grad is not None}
        result = self.full(found)
        self.optimizer.zero_grad()
        return result

    def parameters(self) -> Weights:
        return self.full(self.named_parameters())

    def named_parameters(self) -> dict[str, torch.Tensor]:
        """Canonical name -> what this rank holds of it."""
        held = dict(self.model.named_parameters())
        return {name: held[torch_name(name)] for name in self.names if torch_name(name) in held}

    def full(self, tensors: dict[str, torch.Tensor]) -> Weights:
        """Whole arrays in canonical layout; strategies that split tensors gather here."""
        return {name: to_canonical(name, tensor) for name, tensor in tensors.items()}

    def timed_step(self, index: int) -> StepTrace:
        """Busy compute is the CPU time of the thread that computes: it does not run in a wait."""
        self.events = []
        if self.device.type == "cuda":
            self.step(index)
            self.synchronize()
            return StepTrace(missing="device compute time on CUDA is not measured yet")
        began = time.thread_time()
        self.step(index)
        busy = time.thread_time() - began
        return StepTrace(tuple(self.events), (busy,))

    def peak_memory_bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def describe(self) -> dict[str, str]:
        return {
            "torch": torch.__version__,
            "backend": "none",
            "threads": str(torch.get_num_threads()),
            "mkldnn": str(torch.backends.mkldnn.is_available()),
            "tf32": str(torch.backends.cuda.matmul.allow_tf32),
            "dtype": self.case.dtype,
            "mode": self.case.mode,
        }

    def close(self) -> None:
        """Nothing is shared with another process."""
