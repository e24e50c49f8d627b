"""What a workload says of itself; everything that splits, proves or counts it reads only this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

Weights = dict[str, np.ndarray]
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Adam:
    """p -= lr * m_hat / (sqrt(v_hat) + epsilon): Kingma & Ba 2015, algorithm 1."""

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Middle:
    """A narrow bottleneck inside a branch: split by inputs, added up, then split by outputs again.

    Squeeze-and-excitation between two convolutions: ``row`` sees a device's own channels, its
    output of ``elements`` a sample is summed, ``column`` gives each device its channels back.
    """

    row: str
    column: str
    elements: int


@dataclass(frozen=True)
class Branch:
    """Layers that devices can share: split by outputs, then by inputs, then added up.

    ``columns`` are split along their outputs, with their biases; ``channels`` act channel by
    channel between them and ``row``, which is split along its inputs and whose bias is added once
    (Shoeybi et al. 2019, section 3). ``module`` is the part whose input enters the branch.
    ``entering`` and ``leaving`` are elements a sample of the two tensors that devices exchange;
    an input that is data has no gradient to exchange. ``middle`` is a second sum in between.
    """

    columns: tuple[str, ...]
    row: str
    module: str
    entering: int
    leaving: int
    channels: tuple[str, ...] = ()
    input_has_gradient: bool = True
    middle: Middle | None = None


@dataclass(frozen=True)
class Field:
    """One array of the data: its shape a sample, its type, and how many whole numbers it may hold.

    ``classes`` 0 means any finite number; otherwise values are ``lowest`` to ``classes - 1``.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    classes: int = 0
    lowest: int = 0


class Workload(ABC):
    """Dimensions, initial weights, optimiser, FLOPs: what must be equal in every framework.

    Weights are NumPy float32 arrays under canonical names ``part.….leaf``. Leaves are ``weight``
    (matrices ``(in, out)``, kernels ``(height, width, in, out)``), ``depthwise`` (``(height,
    width, channels, 1)``), ``table`` (embeddings), ``scale`` and ``bias``. An adapter transposes to
    its framework's layout and nothing else. Parts named like units, ``block0``, can be stages of a
    pipeline; others belong to one end or both.
    """

    name: str
    size: str
    dataset: str
    global_batch: int
    optimizer: Adam

    @property
    def tokens_per_sample(self) -> int:
        """0 where samples are not sequences."""
        return 0

    @property
    def torch_module(self) -> str:
        """Module with ``build(spec, units)`` and ``loss(spec)``; empty if there is none."""
        return f"adapters.pytorch.models.{self.name}"

    @property
    def tensorflow_module(self) -> str:
        """Module with ``forward(…)`` and ``loss(spec)``; empty if there is none."""
        return f"adapters.tensorflow.models.{self.name}"

    @property
    @abstractmethod
    def features(self) -> Field:
        """What the model reads."""

    @property
    @abstractmethod
    def targets(self) -> Field:
        """What its loss compares with."""

    @property
    def batch_statistics(self) -> bool:
        """Whether samples of one forward pass see each other, as batch normalisation lets them.

        Then each replica's share and each micro-batch is normalised by itself, as frameworks do,
        and the reference computes the same groups. Running averages are not kept: nothing is
        evaluated.
        """
        return False

    @property
    def side_input(self) -> bool:
        """Whether every stage of a pipeline reads the features beside the stage before."""
        return False

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape, in forward order."""

    @abstractmethod
    def unit_flops(self) -> dict[str, float]:
        """Forward FLOPs a sample of each unit, with the ends that ride with it, in forward order.

        Units are what a pipeline may cut between, named ``word`` and position.
        """

    @abstractmethod
    def branches(self) -> list[Branch]:
        """What intra-layer splits, in forward order."""

    @abstractmethod
    def boundary(self, unit: int) -> tuple[int, ...]:
        """Shape a sample of the tensor that enters ``unit`` from the one before."""

    def ends(self) -> dict[str, tuple[str, ...]]:
        """Parameter outside the units, or its first word -> the ends it rides with.

        ``first``, ``last`` or both; a full name goes before a first word.
        """
        return {}

    def divisors(self) -> dict[str, int]:
        """What else an intra-layer split must divide, such as the heads."""
        return {}

    def real_data(self, generator: np.random.Generator) -> Arrays | None:
        """Features and targets, all samples; None takes the suite's data set named ``dataset``."""
        return None

    def examples(self, tokens: np.ndarray, generator: np.random.Generator) -> Arrays:
        """Features and targets of a long row of tokens, where samples are sequences."""
        raise NotImplementedError

    def units(self) -> list[str]:
        return list(self.unit_flops())

    def flops_per_sample(self) -> float:
        """Forward, and backward twice that."""
        return 3.0 * sum(self.unit_flops().values())


def linear_shapes(name: str, fan_in: int, fan_out: int) -> dict[str, tuple[int, ...]]:
    """A linear layer's weight and bias."""
    return {f"{name}.weight": (fan_in, fan_out), f"{name}.bias": (fan_out,)}


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """A normalisation's scale and bias."""
    return {f"{name}.scale": (width,), f"{name}.bias": (width,)}
