"""Number formats: strict float32, TF32 products, or bfloat16 through ``torch.autocast``.

In bf16 the parameters, their gradients and the optimiser stay in float32. ``torch.autocast``
computes matrix products, convolutions and attention in bfloat16; the statistics of normalisations
and the loss are computed in float32. Stages and shards exchange their activations in bfloat16. The
exponents of bfloat16 reach as far as those of float32, so the loss needs no scaling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

LOW = torch.bfloat16


def parameter_type(dtype: str) -> torch.dtype:
    """Returns the type of parameters, gradients and Adam's moments for a case's dtype."""
    return torch.float64 if dtype == "float64" else torch.float32


def set_products(dtype: str) -> None:
    """Allows TF32 in the products and convolutions of a GPU, or forbids it.

    Call it before the first product.

    Args:
        dtype: Number format of the case; only ``tf32`` allows TF32.
    """
    allowed = dtype == "tf32"
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    # cuDNN's search may pick an algorithm with larger errors, so it is off where parity is strict.
    torch.backends.cudnn.benchmark = dtype in ("tf32", "bf16")


def autocast(model: nn.Module, device: str, leaves: bool = False) -> None:
    """Makes a model compute its forward pass in bfloat16.

    It wraps the model's own ``forward`` rather than the call to it, so that every strategy can call
    the model in its own way.

    Args:
        model: The model; it is changed in place.
        device: Type of device, ``cpu`` or ``cuda``.
        leaves: Whether the output is turned into bfloat16 too, because another rank receives it.
    """
    forward: Callable[..., torch.Tensor] = model.forward

    def lowered(*arguments: Any, **named: Any) -> torch.Tensor:
        with torch.autocast(device, LOW):
            result = forward(*arguments, **named)
        return result.to(LOW) if leaves else result

    lowered.computes_in = LOW  # type: ignore[attr-defined]  # for the ledger
    model.forward = lowered


def lower_input(module: nn.Module) -> None:
    """Makes a module convert its first input to bfloat16 before ranks exchange it."""
    module.register_forward_pre_hook(
        lambda _module, inputs: (inputs[0].to(LOW), *inputs[1:])
    )


def describe(dtype: str) -> dict[str, str]:
    """Says for the fairness ledger what is computed and communicated in which format."""
    if dtype != "bf16":
        return {}
    return {
        "mixed_precision": "torch.autocast", "parameters": "float32",
        "gradient_communication": "float32",
        "activation_communication": "bfloat16",
    }
