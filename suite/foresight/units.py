"""What a model asks of a device: matrix products, streamed elements, launches and parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# A number for all configurations, or one for each of them: float64 (configurations,).
Numbers = float | Array


@dataclass(frozen=True)
class Product:
    """A matrix product of the forward pass of one sample: (rows, inner) by (inner, outer).

    Attributes:
        rows: Rows of the left matrix for one sample, such as its tokens.
        inner: Length of the sum.
        outer: Columns of the right matrix.
        count: How many equal products run as one batch for a sample, such as attention heads.
        split: Which length an intra-layer split divides: ``inner``, ``outer``, ``count``, or
            nothing if it is empty.
        samples_in_count: Whether a larger batch means more products rather than more rows.
        fused: 1 where the product is part of a larger kernel, which neither writes its result to
            memory nor depends on how narrow it is.
        alternate: Share of it that is computed again where every second product is.
        sixteen_bit: Whether it stays in 16 bit where others are computed in eight.
    """

    rows: Numbers
    inner: Numbers
    outer: Numbers
    count: Numbers = 1.0
    split: str = ""
    samples_in_count: bool = False
    fused: Numbers = 0.0
    alternate: Numbers = 0.0
    sixteen_bit: bool = False


@dataclass(frozen=True)
class Unit:
    """A part of a model between two places where a pipeline may be cut.

    All numbers are for one sample and the forward pass. Elements become bytes with the number
    format of the activations.

    Attributes:
        name: Name for people.
        repeats: How many equal units follow each other.
        products: The matrix products.
        streamed: Elements that memory-bound operations read and write on every shard.
        streamed_split: Such elements that an intra-layer split divides.
        curved_split: Elements of an activation function that has to be computed, such as gelu; an
            intra-layer split divides them.
        normed: Elements that are normalised row by row; every shard has them all.
        launches: Kernels or operations that the host starts.
        parameters: Parameters that every shard holds.
        parameters_split: Parameters that an intra-layer split divides.
        copied_split: Such parameters of another unit, which a stage without that unit holds too.
        kept: Elements kept for the backward pass that every shard holds.
        kept_split: Such elements that an intra-layer split divides.
        dropped: Those of ``kept`` that selective recompute does not keep.
        dropped_split: Those of ``kept_split`` that selective recompute does not keep.
        outputs_split: Those that are outputs of products, if selective recompute keeps only such.
        logits: Elements of the model's outputs, for which the loss keeps bytes of its own.
        leaving: Elements of the unit's output.
        sums: All-reduces over the shards of an intra-layer split, of ``leaving`` elements each.
        place: ``body``, or the end of the pipeline that the unit belongs to: ``first``, ``last``.
    """

    name: str
    repeats: Numbers
    products: tuple[Product, ...] = ()
    streamed: Numbers = 0.0
    streamed_split: Numbers = 0.0
    curved_split: Numbers = 0.0
    normed: Numbers = 0.0
    launches: Numbers = 1.0
    parameters: Numbers = 0.0
    parameters_split: Numbers = 0.0
    copied_split: Numbers = 0.0
    kept: Numbers = 0.0
    kept_split: Numbers = 0.0
    dropped: Numbers = 0.0
    dropped_split: Numbers = 0.0
    outputs_split: Numbers = 0.0
    logits: Numbers = 0.0
    leaving: Numbers = 0.0
    sums: Numbers = 0.0
    place: str = "body"

    def flops(self) -> Numbers:
        """Forward FLOPs of one sample of one such unit: two for each multiply and add."""
        return sum((2.0 * p.rows * p.inner * p.outer * p.count for p in self.products), 0.0)


Model = tuple[Unit, ...]


def training_flops(model: Model) -> Numbers:
    """FLOPs of one sample of a training step: forward, and twice that backward.

    Recomputation is not counted, as in MFU (Chowdhery et al. 2022, appendix B).
    """
    return sum((3.0 * unit.repeats * unit.flops() for unit in model), 0.0)


def parameters(model: Model) -> Numbers:
    """Number of parameters of the whole model."""
    return sum((u.repeats * (u.parameters + u.parameters_split) for u in model), 0.0)
