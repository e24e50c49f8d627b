"""Number formats: strict float32, TF32 products, or bfloat16 by ``torch.autocast``.

bf16 keeps parameters, their gradients and the optimiser in float32. ``torch.autocast`` computes
matrix products, convolutions and attention in bfloat16; normalisations take their statistics and
the loss is computed in float32; what stages and shards exchange is bfloat16. It has float32's
exponents, so losses need no scaling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from adapters.pytorch.models import Loss

LOW = torch.bfloat16


def parameter_type(dtype: str) -> torch.dtype:
    """What parameters, gradients and moments of a case of that dtype are held in."""
    return torch.float64 if dtype == "float64" else torch.float32


def set_products(dtype: str) -> None:
    """TF32 in matrix products and convolutions of a GPU, or nowhere; call before the first one."""
    allowed = dtype == "tf32"
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    # Searching for an algorithm may find one with larger errors: not where proof is strict.
    torch.backends.cudnn.benchmark = dtype in ("tf32", "bf16")


def autocast(model: nn.Module, device: str, leaves: bool = False) -> None:
    """Makes the forward pass of ``model`` bfloat16; ``leaves`` lowers what it returns too.

    In the forward pass and not around it, so that each way of splitting can call it as it likes.
    """
    forward: Callable[..., torch.Tensor] = model.forward

    def lowered(*arguments: Any, **named: Any) -> torch.Tensor:
        with torch.autocast(device, LOW):
            result = forward(*arguments, **named)
        return result.to(LOW) if leaves else result

    model.forward = lowered


def in_float32(loss: Loss) -> Loss:
    """A loss of logits in any format, computed in float32."""
    return lambda logits, targets: loss(logits.float(), targets)


def lower_input(module: nn.Module) -> None:
    """The first input becomes bfloat16, as its products take it, before ranks exchange it."""
    module.register_forward_pre_hook(
        lambda _module, inputs: (inputs[0].to(LOW), *inputs[1:])
    )


def describe(dtype: str) -> dict[str, str]:
    """For the ledger: what is computed in which format."""
    if dtype != "bf16":
        return {}
    return {
        "mixed_precision": "torch.autocast", "parameters": "float32",
        "gradient_communication": "float32",
        "activation_communication": "bfloat16",
    }
