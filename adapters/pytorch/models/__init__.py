"""The workloads written natively in PyTorch; they know nothing of parallelism."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from adapters.pytorch.models.gpt import Gpt
from adapters.pytorch.models.mlp import Mlp
from suite.spec.workloads import MlpSpec, Weights, Workload


def build_model(spec: Workload, weights: Weights, units: range | None = None) -> nn.Module:
    """The model, or the contiguous ``units`` of it that make a pipeline stage, with ``weights``."""
    model = Mlp(spec, units) if isinstance(spec, MlpSpec) else Gpt(spec, units)
    _load_weights(model, weights)
    return model


def torch_name(canonical: str) -> str:
    """``block0.norm1.scale`` -> ``units.0.norm1.weight``; ``layer1.bias`` -> ``units.1.bias``."""
    head, *rest = canonical.split(".")
    if head.startswith(("layer", "block")):
        head = f"units.{head[5:]}"
    if head == "embed":
        return f"embed.{rest[0]}.weight"
    leaf = {"scale": "weight"}.get(rest[-1], rest[-1])
    return ".".join([head, *rest[:-1], leaf])


def transposed(canonical: str) -> bool:
    """``nn.Linear`` keeps (out, in); embeddings are tables in both layouts."""
    return canonical.endswith(".weight") and not canonical.startswith("embed.")


def to_torch(canonical: str, array: np.ndarray) -> torch.Tensor:
    """Canonical array -> tensor in PyTorch's layout."""
    return torch.from_numpy(np.ascontiguousarray(array.T if transposed(canonical) else array))


def to_canonical(canonical: str, tensor: torch.Tensor) -> np.ndarray:
    """PyTorch's layout -> canonical float array, a copy on the host."""
    array = tensor.detach().to("cpu", copy=True).numpy()
    return np.ascontiguousarray(array.T) if transposed(canonical) else array


def _load_weights(model: nn.Module, weights: Weights) -> None:
    """Copies every canonical weight that the model holds; stages hold a part of them."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, array in weights.items():
            if torch_name(name) in parameters:
                parameters[torch_name(name)].copy_(to_torch(name, array))


def loss_function(spec: Workload) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Mean loss over samples (and tokens) of logits against targets."""
    if isinstance(spec, MlpSpec):
        return _binary if spec.binary else nn.functional.cross_entropy
    return _token_cross_entropy


def _binary(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits.squeeze(-1), targets)


def _token_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
