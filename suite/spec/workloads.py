"""What must be equal in every framework: dimensions, initial weights, optimiser, FLOPs.

Weights are NumPy float32 arrays under canonical names. Matrices are ``(in, out)``; an adapter
transposes to its framework's layout and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np

from suite.spec.errors import UsageError

Weights = dict[str, np.ndarray]
LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Adam:
    """p -= lr * m_hat / (sqrt(v_hat) + epsilon): Kingma & Ba 2015, algorithm 1."""

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class MlpSpec:
    """Dense classifier; one output means binary cross-entropy.

    ``activation`` between the layers is ``relu``, or ``gelu`` (tanh form). Of millions of relu
    units rounding flips one at its kink now and then, and a gradient jumps by 1e-3 of its largest
    entry; a smooth activation keeps the proof strict.
    """

    size: str
    widths: tuple[int, ...]
    dataset: str
    global_batch: int
    activation: str = "relu"
    name: str = "mlp"
    optimizer: Adam = Adam()
    tokens_per_sample: int = 0

    @property
    def layers(self) -> int:
        return len(self.widths) - 1

    @property
    def binary(self) -> bool:
        return self.widths[-1] == 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape, in layer order."""
        result: dict[str, tuple[int, ...]] = {}
        for index, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            result[f"layer{index}.weight"] = (fan_in, fan_out)
            result[f"layer{index}.bias"] = (fan_out,)
        return result

    def units(self) -> list[str]:
        """Names of the pieces a pipeline may cut between, in forward order."""
        return [f"layer{index}" for index in range(self.layers)]

    def flops_per_sample(self) -> float:
        """Forward 2·in·out per layer, backward twice that."""
        return 6.0 * sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))


@dataclass(frozen=True)
class GptSpec:
    """Pre-norm decoder-only transformer over tokens, learned positions, untied output matrix."""

    size: str
    vocabulary: int
    sequence: int
    width: int
    heads: int
    blocks: int
    global_batch: int
    name: str = "gpt"
    dataset: str = "stdlib-bytes"
    optimizer: Adam = Adam(learning_rate=3e-4)

    @property
    def tokens_per_sample(self) -> int:
        return self.sequence

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape, in forward order."""
        d = self.width
        result: dict[str, tuple[int, ...]] = {
            "embed.token": (self.vocabulary, d),
            "embed.position": (self.sequence, d),
        }
        for index in range(self.blocks):
            prefix = f"block{index}"
            result |= {f"{prefix}.norm1.scale": (d,), f"{prefix}.norm1.bias": (d,)}
            for part in ("query", "key", "value", "project"):
                result |= {f"{prefix}.{part}.weight": (d, d), f"{prefix}.{part}.bias": (d,)}
            result |= {f"{prefix}.norm2.scale": (d,), f"{prefix}.norm2.bias": (d,)}
            result |= {f"{prefix}.expand.weight": (d, 4 * d), f"{prefix}.expand.bias": (4 * d,)}
            result |= {f"{prefix}.contract.weight": (4 * d, d), f"{prefix}.contract.bias": (d,)}
        result |= {"norm.scale": (d,), "norm.bias": (d,), "head.weight": (d, self.vocabulary)}
        return result

    def units(self) -> list[str]:
        """Names of the pieces a pipeline may cut between; embed and head ride with their ends."""
        return [f"block{index}" for index in range(self.blocks)]

    def flops_per_sample(self) -> float:
        """6·(matrix parameters)·tokens + 12·blocks·width·tokens² (Kaplan et al. 2020, eq. 2.2)."""
        matrices = self.blocks * 12 * self.width**2 + self.width * self.vocabulary
        return 6.0 * matrices * self.sequence + 12.0 * self.blocks * self.width * self.sequence**2


Workload = Union[MlpSpec, GptSpec]  # noqa: UP007 - evaluated at run time on Python 3.10

WORKLOADS: dict[str, dict[str, Workload]] = {
    "mlp": {
        "tiny": MlpSpec("tiny", (30, 10, 1), "breast-cancer", 64),
        "wide": MlpSpec("wide", (64, 1024, 1024, 1024, 1024, 10), "digits", 192, "gelu"),
    },
    "gpt": {
        "tiny": GptSpec("tiny", 256, 32, 64, 4, 4, 8),
        "small": GptSpec("small", 256, 128, 256, 8, 4, 8),
        "gpt2": GptSpec("gpt2", 50257, 1024, 768, 12, 12, 8),
        "gpt3-xl": GptSpec("gpt3-xl", 50257, 2048, 2048, 16, 24, 8),
    },
}


def find_workload(name: str, size: str) -> Workload:
    """The workload of that name and size; raises :class:`UsageError` naming what exists."""
    if name not in WORKLOADS:
        raise UsageError("workload", name, f"one of {', '.join(WORKLOADS)}", "pick one of these")
    sizes = WORKLOADS[name]
    if size not in sizes:
        raise UsageError(f"size of {name}", size, f"one of {', '.join(sizes)}", "pick one of these")
    return sizes[size]


def parameter_count(workload: Workload) -> int:
    """Number of trained scalars."""
    return sum(int(np.prod(shape)) for shape in workload.shapes().values())


def initial_weights(workload: Workload, seed: int) -> Weights:
    """float32 from one seed: matrices N(0, 1/fan_in), embeddings 0.02, unit scales, zero biases."""
    generator = np.random.default_rng([seed, 1])
    return {name: _initial(name, shape, generator) for name, shape in workload.shapes().items()}


def _initial(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    if name.endswith(".scale"):
        return np.ones(shape, np.float32)
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    deviation = 0.02 if name.startswith("embed.") else shape[0] ** -0.5
    return (generator.standard_normal(shape) * deviation).astype(np.float32)
