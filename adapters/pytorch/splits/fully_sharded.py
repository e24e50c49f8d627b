"""Fully sharded data parallel: ``fully_shard`` around each unit and around the whole model.

ZeRO stage 3 (``fsdp``) and stage 2 (``zero2``), in which a unit stays whole between its two passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp._fully_shard._fsdp_api import AllGather, ReduceScatter
from torch.distributed.tensor import DTensor

from adapters.pytorch.splits.group import DataParallelSession
from adapters.pytorch.training.number_format import LOW
from suite.contract.workloads import Weights

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class FullyShardedSession(DataParallelSession):
    """Parameters, gradients and moments are split; a unit is whole only while it computes.

    With ``zero2`` it is whole from its forward pass to the end of its backward pass.
    """

    @property
    def built_on(self) -> torch.device:
        """The CPU: ``fully_shard`` moves the parameters, so no GPU has to hold all of them."""
        return torch.device("cpu")

    def build(self, weights: Weights) -> nn.Module:
        """Builds the model and shards it."""
        model = super().build(weights)
        for parameter in model.parameters():  # FSDP refuses kernels in channels_last format
            parameter.data = parameter.data.contiguous()
        # In bf16, parameters are gathered and computed with in bfloat16, and gradients are summed
        # in float32.
        policy = MixedPrecisionPolicy(LOW, torch.float32) if self.low else MixedPrecisionPolicy()
        # None leaves it to FSDP, which shards units again after the forward pass, and not the rest.
        again = None if self.case.variant == "fsdp" else False
        for part in [*cast(nn.ModuleDict, model.units).values(), model]:
            sharded: FSDPModule = fully_shard(
                part, mesh=self.mesh["data"], mp_policy=policy, reshard_after_forward=again
            )
            sharded.set_custom_all_gather(_Gather(self))
            sharded.set_custom_reduce_scatter(_Scatter(self))
        return model

    def gradients_stay(self, here: bool) -> AbstractContextManager[None]:
        """Adds whole gradients up on every device, and shares them after the last micro-batch.

        Args:
            here: Whether the gradients of the next pass stay on this rank.
        """
        model = cast(FSDPModule, self.model)
        model.set_is_last_backward(not here)
        model.set_requires_gradient_sync(not here)
        return nullcontext()

    def describe(self) -> dict[str, str]:
        """Returns the session's entries of the ledger, and how parameters are sent."""
        mixed = {"mixed_precision": "torch.autocast, MixedPrecisionPolicy",
                 "parameter_communication": "bfloat16"}
        return super().describe() | (mixed if self.low else {})

    def whole(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Returns the whole tensor from the parts that the ranks hold.

        Args:
            name: Canonical name of the parameter.
            tensor: This rank's part of it, or of its gradient.
        """
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class _Exchange:
    """FSDP's own collectives, marked while a probe is attached and left out of a silent step."""

    kind = ""

    def __init__(self, session: FullyShardedSession) -> None:
        self.session = session

    def allocate(
        self, size: Sequence[int | torch.SymInt], *, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        """Allocates a buffer, as FSDP's own collectives do."""
        return torch.empty(*size, dtype=dtype, device=device)

    def marked(self, whole: torch.Tensor, work: Any) -> Any:
        """Runs ``work`` between two marks.

        Args:
            whole: The whole tensor, whose size is the payload, as in the link's sweep.
            work: Makes the communication.
        """
        probe = self.session.probe
        if probe is None:
            return work()
        start = probe.mark()
        result = work()
        probe.add(self.kind, whole, start, probe.mark(), probe.number(self.kind))
        return result


class _Gather(_Exchange, AllGather):
    kind = "all_gather"

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: ProcessGroup,
        async_op: bool = False,
    ) -> dist.Work | None:
        if self.session.silent:
            # The step needs numbers to compute on, so every place gets this rank's own shard.
            output_tensor.view(group.size(), -1).copy_(input_tensor.flatten().clone())
            return None
        return cast("dist.Work | None", self.marked(output_tensor, lambda: (
            dist.all_gather_into_tensor(output_tensor, input_tensor, group, async_op)
        )))


class _Scatter(_Exchange, ReduceScatter):
    kind = "reduce_scatter"

    def __call__(
        self, output_tensor: torch.Tensor, input_tensor: torch.Tensor, group: ProcessGroup,
        op: Any, async_op: bool = False,
    ) -> dist.Work | None:
        if self.session.silent:
            output_tensor.copy_(input_tensor.view(group.size(), -1)[group.rank()])
            return None
        return cast("dist.Work | None", self.marked(input_tensor, lambda: (
            dist.reduce_scatter_tensor(output_tensor, input_tensor, op, group, async_op)
        )))
