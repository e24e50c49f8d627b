"""The contract of calibration: single operations that an adapter runs, and how they are asked for.

Constants of the machine are measured on operations as a training step makes them, in the framework
that makes them: a product of matrices, a sum that streams memory, attention, an activation
function, a normalisation, small layers that are all overhead, an update of parameters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Protocol

from suite.contract.case import Case, Rank

# Returns when the operation's result is there.
Operation = Callable[[], object]
# Matrices of (rows, inner) by (inner, outer).
Lengths = tuple[int, int, int]
# A dense layer's products: forward, and for the gradients of its inputs and of its weights.
PRODUCTS = 3
# Small products are repeated until a call has so many FLOPs, at most so often.
ENOUGH_FLOPS, MOST_REPEATS = 1e8, 16


def product_repeats(lengths: Lengths) -> int:
    """Returns how often a calibration makes products of these lengths in one call."""
    flops = 2.0 * PRODUCTS * prod(lengths)
    return max(1, min(MOST_REPEATS, int(ENOUGH_FLOPS / flops)))


@dataclass(frozen=True)
class OperationPlan:
    """What a rank of a calibration runs, the same on every rank.

    Attributes:
        products: Lengths of the products.
        stream_elements: Elements of the arrays that are added; beyond every cache.
        attention: (heads of all samples, tokens, width of a head).
        activation_elements: Elements that the activation function is applied to.
        norm: (rows, width) of what is normalised row by row.
        layers: (width, number) of the small layers.
        updates: Numbers of parameters that an optimiser's step updates.
        link_bytes: Payloads of the collectives that are called beside computing.
        load_s: Seconds that a rank computes before each such call.
        seconds: How long each operation is repeated.
    """

    products: tuple[Lengths, ...]
    stream_elements: int
    attention: Lengths
    activation_elements: int
    norm: tuple[int, int]
    layers: tuple[int, int]
    updates: tuple[int, ...]
    link_bytes: tuple[int, ...]
    load_s: float
    seconds: float

    def write(self, path: Path) -> None:
        """Writes the plan as JSON, for the ranks."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> OperationPlan:
        """Reads the plan that ``write`` left in a file."""
        held = json.loads(path.read_text(encoding="utf-8"))
        held["products"] = tuple(tuple(lengths) for lengths in held["products"])
        for name in ("attention", "norm", "layers", "updates", "link_bytes"):
            held[name] = tuple(held[name])
        return cls(**held)


class Operations(Protocol):
    """Operations of one framework and engine on this rank's device, in float32."""

    def product(self, lengths: Lengths, repeats: int) -> Operation:
        """Makes the three products of a dense layer, forward and backward, into new memory.

        All have the same FLOPs, but each reads its matrices in another order. They run one after
        another, on one thread.

        Args:
            lengths: (rows, inner) by (inner, outer), of the forward one.
            repeats: How often each is made, so that what starts the operation hardly counts.
        """

    def stream(self, elements: int) -> Operation:
        """Makes a sum of two arrays into a third, which moves 12 bytes an element."""

    def attention(self, lengths: Lengths) -> Operation:
        """Makes a forward and backward pass of causal attention as the models compute it.

        Args:
            lengths: Heads of all samples, tokens, width of a head.
        """

    def activation(self, elements: int) -> Operation:
        """Makes a forward and backward pass of gelu in its form with tanh."""

    def norm(self, rows: int, width: int) -> Operation:
        """Makes a forward and backward pass of layer normalisation with its scale and bias."""

    def layers(self, width: int, number: int) -> Operation:
        """Makes a forward and backward pass of one sample through dense layers with activations."""

    def update(self, parameters: int) -> Operation:
        """Makes one step of Adam over that many parameters."""


class OpenOperations(Protocol):
    """Signature of ``open_operations`` in an adapter's ``operations.py``.

    The adapter's link session is open when it is called, so devices are prepared.
    """

    def __call__(self, case: Case, rank: Rank) -> Operations: ...


def collectives_of_calibration(offered: Sequence[str]) -> list[str]:
    """Returns those of an adapter's collectives whose constants predictions need."""
    return [name for name in ("all_reduce", "all_gather", "send_recv") if name in offered]
