"""Single operations in PyTorch, as a training step makes them: what constants are measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from suite.contract.operations import Lengths


class TorchOperations:
    """Operations on one device; implements ``suite.contract.operations.Operations``.

    Args:
        device: The device.
        compiled: Whether layers are compiled, as models of compiled cases are.
    """

    def __init__(self, device: torch.device, compiled: bool) -> None:
        self.device, self.compiled = device, compiled

    def product(self, lengths: Lengths, repeats: int) -> Callable[[], object]:
        """The products of a linear layer, whose weight is stored as (outer, inner)."""
        rows, inner, outer = lengths
        x = torch.randn(rows, inner, device=self.device)
        weight = torch.randn(outer, inner, device=self.device)
        slope = torch.randn(rows, outer, device=self.device)

        def run() -> None:
            for _ in range(repeats):
                torch.mm(x, weight.t())
                torch.mm(slope, weight)
                torch.mm(slope.t(), x)

        return self._finished(run)

    def stream(self, elements: int) -> Callable[[], object]:
        """Adds two arrays into a third."""
        a, b = (torch.ones(elements, device=self.device) for _ in range(2))
        into = torch.empty_like(a)
        return self._finished(lambda: torch.add(a, b, out=into))

    def attention(self, lengths: Lengths) -> Callable[[], object]:
        """Scaled dot-product attention, forward and backward."""
        heads, tokens, width = lengths
        parts = [torch.randn(1, heads, tokens, width, device=self.device, requires_grad=True)
                 for _ in range(3)]

        def attend(
            query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
        ) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)

        return self._both_ways(attend, parts)

    def activation(self, elements: int) -> Callable[[], object]:
        """Gelu, forward and backward."""
        entries = torch.randn(elements, device=self.device, requires_grad=True)
        return self._both_ways(nn.GELU(approximate="tanh"), [entries])

    def norm(self, rows: int, width: int) -> Callable[[], object]:
        """Layer normalisation, forward and backward."""
        shapes = (rows, width), (width,), (width,)
        inputs = [torch.randn(shape, device=self.device, requires_grad=True) for shape in shapes]

        def normalise(
            x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor
        ) -> torch.Tensor:
            return nn.functional.layer_norm(x, (width,), scale, bias)

        return self._both_ways(normalise, inputs)

    def _both_ways(
        self, function: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor]
    ) -> Callable[[], object]:
        if self.compiled:
            function = torch.compile(function)
        slope = torch.ones_like(inputs[0])
        return self._finished(lambda: torch.autograd.grad(function(*inputs), inputs, slope))

    def layers(self, width: int, number: int) -> Callable[[], object]:
        """Dense layers with activations, forward and backward."""
        parts = [part for _ in range(number) for part in (nn.Linear(width, width), nn.GELU())]
        model = nn.Sequential(*parts).to(self.device)
        if self.compiled:
            model.compile()
        sample = torch.randn(1, width, device=self.device)

        def run() -> None:
            model(sample).sum().backward()
            model.zero_grad(set_to_none=True)

        return self._finished(run)

    def update(self, parameters: int) -> Callable[[], object]:
        """A step of the optimiser that training uses."""
        weights = nn.Parameter(torch.zeros(parameters, device=self.device))
        weights.grad = torch.ones_like(weights)
        optimizer = torch.optim.Adam([weights], fused=True)
        return self._finished(optimizer.step)

    def _finished(self, operation: Callable[[], object]) -> Callable[[], object]:
        if self.device.type != "cuda":
            return operation

        def run() -> None:
            operation()
            torch.cuda.synchronize(self.device)

        return run
