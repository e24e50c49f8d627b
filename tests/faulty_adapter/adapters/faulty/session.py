"""Each fault is one line of a training script that people get wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from adapters.pytorch import session
from adapters.pytorch.splits import data, inter_layer
from adapters.pytorch.training import single as training
from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    globals()[os.environ["FAULT"]]()
    if os.environ["FAULT"] == "swapped_layers":
        names = [f"block{index}.attention.query.weight" for index in (0, 1)]
        weights |= dict(zip(names, [weights[name] for name in reversed(names)], strict=True))
    return session.open_session(case, rank, weights, inputs)


def none() -> None:
    """Nothing planted: the gate passes."""


def swapped_layers() -> None:
    """See ``open_session``."""


def crash() -> None:
    """One rank ends with an error where the others wait for it."""
    original = training.Training.step

    def step(self: Any, index: int) -> torch.Tensor:
        if self.rank.index == 1 and index == 3:
            raise ValueError("planted crash")
        return original(self, index)

    training.Training.step = step  # type: ignore[method-assign]


def wrong_scale() -> None:
    original = training.Training.local_batch

    def scaled(self: Any, features: Any, targets: Any) -> Any:
        x, y = original(self, features, targets)
        return x * 1.001, y

    training.Training.local_batch = scaled  # type: ignore[method-assign]


def missing_division() -> None:
    def summed(_state, bucket):  # noqa: ANN001, ANN202 - DDP compares annotations with classes
        work = dist.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    original = data.DataSession.build

    def build(self: Any, weights: Weights) -> Any:
        wrapped = original(self, weights)
        wrapped.register_comm_hook(None, summed)
        return wrapped

    data.DataSession.build = build  # type: ignore[method-assign]


def shifted_shard() -> None:
    def shifted(self: Any, features: Any, targets: Any) -> Any:
        share = len(features) // self.case.devices
        start = max(0, self.rank.index * share - 1)
        return features[start : start + share], targets[start : start + share]

    data.DataSession.local_batch = shifted  # type: ignore[method-assign]


def built_in_epsilon() -> None:
    original = training.Training.make_optimizer

    def loose(self: Any) -> torch.optim.Optimizer:
        optimizer = original(self)
        optimizer.param_groups[0]["eps"] = 1e-4
        return optimizer

    training.Training.make_optimizer = loose  # type: ignore[method-assign]


def undivided_micro_batches() -> None:
    original = training.Training._accumulate

    def summed(self: Any, features: Any, targets: Any, parts: int) -> Any:
        mean = self.loss_function
        self.loss_function = lambda *arguments: mean(*arguments) * parts
        try:
            return original(self, features, targets, parts) / parts
        finally:
            self.loss_function = mean

    training.Training._accumulate = summed  # type: ignore[method-assign]


def forgotten_micro_batch() -> None:
    """Gradients are cleared between micro-batches: the last one's alone make the update."""
    original = data.DataSession.gradients_stay

    def cleared(self: Any, here: bool) -> Any:
        self.inner.zero_grad()
        return original(self, here)

    data.DataSession.gradients_stay = cleared  # type: ignore[method-assign]


def swapped_stages() -> None:
    """A device of an interleaved pipeline has its two groups of layers the wrong way round."""
    original = inter_layer.unit_ranges

    def swapped(*arguments: Any, **named: Any) -> Any:
        ranges = original(*arguments, **named)
        return [ranges[0], ranges[2], ranges[1], ranges[3]]

    inter_layer.unit_ranges = swapped


def untied_gradient() -> None:
    inter_layer.InterLayerSession.sum_tied_gradients = (  # type: ignore[method-assign]
        lambda self: None
    )


def coarse_parameters() -> None:
    original = training.Training.step

    def step(self: Any, index: int) -> torch.Tensor:
        loss = original(self, index)
        for parameter in self.model.parameters():
            parameter.data = parameter.data.bfloat16().float()
        return loss

    training.Training.step = step  # type: ignore[method-assign]


def full_precision() -> None:
    """bfloat16 asked for, float32 computed."""
    training.autocast = lambda *arguments: None


def undivided_compression() -> None:
    _send_half(lambda half, size: half, lambda half: half)


def scaled_compression() -> None:
    """1 % too long: less than a bit of bfloat16, far more than float16 rounds."""
    _send_half(lambda half, size: half.div_(size), lambda half: half * 1.01)


def forgotten_compression() -> None:
    """float16 asked for, float32 sent."""

    def whole(group, bucket):  # noqa: ANN001, ANN202 - DDP compares annotations with classes
        buffer = bucket.buffer().div_(group.size())
        work = dist.all_reduce(buffer, group=group, async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    data.HOOKS["fp16"] = whole


def _send_half(before: Callable[..., Any], after: Callable[..., Any]) -> None:
    def hook(group, bucket):  # noqa: ANN001, ANN202 - as above
        buffer = bucket.buffer()
        work = dist.all_reduce(before(buffer.half(), group.size()), group=group, async_op=True)
        return work.get_future().then(lambda future: buffer.copy_(after(future.value()[0])))

    data.HOOKS["fp16"] = hook


def wrong_axis() -> None:
    """Gradients are averaged over the shards' group instead of the replicas'."""

    def averaged(group, bucket):  # noqa: ANN001, ANN202 - as above
        buffer = bucket.buffer().div_(group.size())
        work = dist.all_reduce(buffer, group=group, async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    original = data.DataSession.build

    def build(self: Any, weights: Weights) -> Any:
        wrapped = original(self, weights)
        wrapped.register_comm_hook(self.group("intra_layer"), averaged)
        return wrapped

    data.DataSession.build = build  # type: ignore[method-assign]
