"""Counts what each layer of torchgpipe's benchmark models computes and streams.

    python -m scripts.count_layers CHECKOUT > suite/foresight/data/torchgpipe_layers.csv

CHECKOUT is a clone of github kakaobrain/torchgpipe, whose models are built without memory (on
PyTorch's ``meta`` device) and sent through one pass forward and back. Every operation that is no
view counts: its FLOPs where it is a product, and the elements that it reads and writes. Numbers
are for one sample.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

BATCH = 16
# What moves no element.
VIEWS = {
    "view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select", "detach",
    "alias", "unsqueeze", "squeeze", "as_strided", "empty", "empty_like", "split", "unbind",
    "_reshape_alias",
}
HEADER = ("model", "layer", *(f"{way}_{what}" for way in ("forward", "backward") for what in (
    "product_flops", "product_elements", "streamed_elements")), "leaving_elements")
# Name in the published table, how it is built (benchmarks/*-speed/main.py), pixels of a side.
MODELS: tuple[tuple[str, str, str, dict[str, int], int], ...] = (
    ("AmoebaNet-D (18, 256)", "amoebanet", "amoebanetd",
     {"num_classes": 1000, "num_layers": 18, "num_filters": 256}, 224),
    ("ResNet-101", "resnet", "resnet101", {"num_classes": 1000}, 224),
    ("U-Net (5, 64)", "unet", "unet", {"depth": 5, "num_convs": 5, "base_channels": 64,
                                       "input_channels": 3, "output_channels": 1}, 192),
)


class Counting(TorchDispatchMode):
    """Adds up FLOPs of products, their elements, and the elements of all other operations."""

    def __init__(self) -> None:
        """Starts with nothing counted."""
        super().__init__()
        self.flops, self.of_products, self.streamed = 0.0, 0.0, 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Runs the operation and counts it."""
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet.__name__ in VIEWS:
            return out
        moved = sum(one.numel() for one in tree_flatten((args, kwargs or {}, out))[0]
                    if isinstance(one, Tensor))
        if packet in flop_registry:
            self.flops += flop_registry[packet](*args, **(kwargs or {}), out_val=out)
            self.of_products += moved
        else:
            self.streamed += moved
        return out

    def of_a_sample(self) -> list[int]:
        """The three sums for one sample."""
        return [round(one / BATCH) for one in (self.flops, self.of_products, self.streamed)]


def layers(model: Sequence[nn.Module], pixels: int) -> Iterator[list[int]]:
    """The counts of each layer in order, on inputs that the layer before it has made."""
    states: tuple[Tensor, ...] = (torch.empty(BATCH, 3, pixels, pixels, device="meta"),)
    for layer in model:
        layer = layer.to("meta")
        inputs = tuple(one.detach().requires_grad_() for one in states)
        with Counting() as forward:
            out = layer(inputs if len(inputs) > 1 else inputs[0])
        outputs: tuple[Tensor, ...] = out if isinstance(out, tuple) else (out,)
        with Counting() as backward:
            torch.autograd.grad(
                outputs, [*inputs, *layer.parameters()],
                [torch.empty_like(one) for one in outputs], allow_unused=True)
        states = tuple(one.detach() for one in outputs)
        leaving = round(sum(one.numel() for one in states) / BATCH)
        yield [*forward.of_a_sample(), *backward.of_a_sample(), leaving]


def main() -> None:
    """Writes the table to standard output."""
    checkout = Path(sys.argv[1])
    sys.path[:0] = [str(checkout), str(checkout / "benchmarks" / "models")]
    tracker = import_module("torchgpipe.skip.tracker")
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(HEADER)
    for name, module, function, settings, pixels in MODELS:
        build = cast(Callable[..., nn.Sequential], getattr(import_module(module), function))
        with tracker.use_skip_tracker(tracker.SkipTracker()):
            for number, counts in enumerate(layers(list(build(**settings)), pixels)):
                rows.writerow([name, number, *counts])


if __name__ == "__main__":
    main()
