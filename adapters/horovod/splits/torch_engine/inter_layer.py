"""Inter-layer: ranks hold stages, and broadcasts over pairs of neighbours carry tensors between
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import horovod.torch as hvd
import torch
from torch import nn

from adapters.horovod.splits.torch_engine.group import HorovodSession, gather_figures
from adapters.pytorch.models import torch_name
from adapters.pytorch.training.balanced import Gathered
from adapters.pytorch.training.moved import MovedLayers
from suite.contract.splits.schedule import Work, pipeline_order
from suite.contract.splits.stages import stages_of, tied_weights, unit_ranges
from suite.contract.workloads import Weights


class InterLayerSession(MovedLayers, HorovodSession):
    """Posts all receives at the start of a step, so that no sender waits for its neighbour."""

    def build(self, weights: Weights) -> nn.Module:
        """Builds the stages of this rank."""
        case, mesh = self.case, self.case.axes
        devices, mine = mesh.size("inter_layer"), self.position("inter_layer")
        self.suffix = self.key("inter_layer", "")
        self.parts, self.last = case.micro_batches, case.stages - 1
        self.order = pipeline_order(case.variant, mine, devices, self.parts)
        units = unit_ranges(self.spec, case.stages, cut=self.cut)
        self.stages: dict[int, nn.Module] = {}
        for stage in stages_of(case.variant, devices, mine):
            self.units = units[stage]
            self.stages[stage] = super().build(weights)
        # The shapes of the tensors that each stage receives.
        self.shapes = {("forward", stage): self._shape(units[stage].start)
                       for stage in self.stages if stage}
        self.shapes |= {("backward", stage): self._shape(units[stage].stop)
                        for stage in self.stages if stage < self.last}
        self.tied = self._tied()
        chunks = self.modules()
        return chunks[0] if len(chunks) == 1 else nn.ModuleList(chunks)

    def _tied(self) -> dict[str, nn.Parameter]:
        """Returns the parameters that the stage at the other end of the pipeline holds, too."""
        return {
            name: model.get_parameter(torch_name(name))
            for name in tied_weights(self.spec, self.case.stages)
            for stage, model in self.stages.items() if stage in (0, self.last)
        }

    @property
    def stage(self) -> int:
        """The number of this rank's stage, where it has one alone."""
        return self.position("inter_layer")

    def gather_busy(self, seconds: list[float]) -> Gathered:
        """Begins to gather the busy seconds of every stage in some steps.

        Args:
            seconds: Of this rank in each of the steps, oldest first.

        Returns:
            A function that waits for the same of all stages and returns it by stage.
        """
        return gather_figures(seconds, self.process_set("inter_layer"))

    def give(self, name: str, tensor: torch.Tensor, giver: int, taker: int) -> None:
        """Broadcasts a tensor among all stages: those that are no neighbours share no other set.

        Args:
            name: Canonical name of the parameter that moves.
            tensor: What the giver has; on the others it is overwritten.
            giver: Number of the stage that has it.
            taker: Number of the stage that gets it.
        """
        ranks = self.case.axes.group("inter_layer", self.rank.index)
        hvd.broadcast_(tensor, ranks[giver], f"moved.{name}", self.process_set("inter_layer"))

    def take_cut(self, cut: Sequence[int]) -> None:
        """Moves layers, and trains on another cut from the next step on.

        Args:
            cut: Number of units of each stage.
        """
        super().take_cut(cut)
        self.tied = self._tied()  # the parameters that were put into the new stages

    def wait(self, handle: int) -> torch.Tensor:
        """Waits for an operation and returns its tensor.

        Horovod spins meanwhile, which is no work of the stage.
        """
        with self.idle():
            return super().wait(handle)

    def modules(self) -> list[nn.Module]:
        """Returns the stages, whose parameters this rank trains."""
        return list(self.stages.values())

    def _shape(self, unit: int) -> tuple[int, ...]:
        samples = self.spec.global_batch // (self.case.axes.size("data") * self.parts)
        return (samples, *self.spec.boundary(unit))

    def forward_backward(self, index: int) -> torch.Tensor:
        """Computes the gradients of a batch into ``.grad``.

        Returns the loss (0 except on the last stage).
        """
        features, targets = self.batches[index % len(self.batches)]
        self.inputs, self.targets = features.chunk(self.parts), targets.chunk(self.parts)
        self.flying: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}
        self.losses: list[torch.Tensor] = []
        self.sent: list[int] = []
        self.arriving = self._post_receives()
        for stage, kind, part in self.order:
            (self._forward if kind == "forward" else self._backward)(stage, part)
        for handle in self.sent:
            self.wait(handle)
        self.reduce_gradients()
        self.sum_tied_gradients()
        if self.last not in self.stages:
            return torch.zeros((), dtype=self.dtype, device=self.device)
        return torch.stack(self.losses).sum()

    def _post_receives(self) -> dict[tuple[int, str, int], tuple[int, torch.Tensor]]:
        """Posts every receive of a step.

        Returns:
            For each stage, kind and micro-batch, Horovod's handle and the tensor that is received
            into.
        """
        return {
            (stage, kind, part): self._post((stage, kind, part), shape)
            for part in range(self.parts) for (kind, stage), shape in self.shapes.items()
        }

    def _post(self, work: Work, shape: tuple[int, ...]) -> tuple[int, torch.Tensor]:
        blank = self._blank(shape)
        return -1 if self.silent else self._hop(work, blank), blank

    def _blank(self, shape: tuple[int, ...]) -> torch.Tensor:
        # With communication off, the stage computes with this tensor, so it must hold numbers.
        make = torch.zeros if self.silent else torch.empty
        return make(shape, dtype=self.dtype, device=self.device)

    def _name(self, work: Work, sending: bool) -> tuple[str, int]:
        """Returns the name of a hop and its lower stage.

        A hop is between this stage and the stage before or after it.
        """
        stage, kind, part = work
        lower = stage if sending == (kind == "forward") else stage - 1
        return f"{kind}.{lower}.{part}{self.suffix}", lower

    def _hop(self, work: Work, tensor: torch.Tensor, sending: bool = False) -> int:
        """Starts the broadcast from the sending stage to the receiving one; returns its handle."""
        name, lower = self._name(work, sending)
        ranks = self.hop_ranks(lower)
        root = ranks[work[1] == "backward"]
        return int(hvd.broadcast_async_(tensor, root, name, self.sets.of(ranks)))

    def _send(self, work: Work, tensor: torch.Tensor) -> None:
        if self.silent:
            return
        if self.probe:
            ready = self.probe.mark()
            key, _ = self._name(work, sending=True)
            self.probe.add("send_recv", tensor, ready, ready, key, "send")
        self.sent.append(self._hop(work, tensor, sending=True))

    def _receive(self, work: Work) -> torch.Tensor:
        arriving = self.arriving[work]
        if self.silent:
            return arriving[1]
        start = self.probe.mark() if self.probe else None
        tensor = self.wait(arriving[0])
        if self.probe:
            key, _ = self._name(work, sending=False)
            self.probe.add("send_recv", tensor, start, self.probe.mark(), key, "recv")
        return tensor

    def _forward(self, stage: int, part: int) -> None:
        work = stage, "forward", part
        x = self._receive(work).requires_grad_() if stage else self.inputs[part]
        side = {"features": self.inputs[part]} if self.spec.side_input else {}
        y = self.stages[stage](x, **side)
        if stage == self.last:
            y = self.loss_function(y, self.targets[part]) / self.parts
            self.losses.append(y.detach())
        else:
            y = y.to(self.dtype)  # Horovod cannot send bfloat16
            self._send(work, y.detach().contiguous())
        self.flying[stage, part] = x, y

    def _backward(self, stage: int, part: int) -> None:
        work = stage, "backward", part
        x, y = self.flying.pop((stage, part))
        y.backward(None if stage == self.last else self._receive(work))
        if stage and x.grad is not None:
            self._send(work, x.grad.contiguous())

    def sum_tied_gradients(self) -> None:
        """Sums, once in a step, the gradients of parameters that both ends of the pipeline hold."""
        for name, parameter in self.tied.items():
            gradient = parameter.grad
            assert gradient is not None
            if self.silent:
                continue
            start = self.probe.mark() if self.probe else None
            handle = hvd.allreduce_async_(
                gradient, op=hvd.Sum, name=f"tied.{name}",
                process_set=self.sets.of(self.hop_ranks(self.last)),
            )
            self.wait(handle)
            if self.probe:
                key = f"tied.{name}{self.suffix}"
                self.probe.add("all_reduce", gradient, start, self.probe.mark(), key)

    def loss(self, handle: torch.Tensor) -> float:
        """Returns the mean loss of the global batch, which is the same on every rank."""
        mean = torch.tensor(super().loss(handle), dtype=torch.float64)
        # The last rank has the last stage of the last replica and shard.
        return float(hvd.broadcast(mean, self.rank.processes - 1, name="broadcast.loss"))
