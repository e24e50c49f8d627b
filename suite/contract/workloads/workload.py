"""The contract of a workload: all that plans, proofs and FLOP counts read about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

# Canonical parameter name to array.
Weights = dict[str, np.ndarray]
# Features and targets, the samples along the first axis of both.
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Adam:
    """Adam: p -= lr * m_hat / (sqrt(v_hat) + epsilon) (Kingma & Ba 2015, algorithm 1)."""

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass(frozen=True)
class Middle:
    """A second sum in the middle of a branch, such as squeeze-and-excitation.

    The layer ``row`` reads only the channels that a device holds, the outputs of all devices are
    added up, and the layer ``column`` computes from the total the channels of each device again.

    Attributes:
        row: Canonical name of the layer that is split along its inputs.
        column: Canonical name of the layer that is split along its outputs.
        elements: Elements per sample of the tensor that the devices add up.
    """

    row: str
    column: str
    elements: int


@dataclass(frozen=True)
class Branch:
    """Consecutive layers that an intra-layer split shards together.

    The first layers are split along their outputs, the last layer along its inputs, and the devices
    add up what comes out (Shoeybi et al. 2019, section 3).

    Attributes:
        columns: Layers that are split along their outputs, biases included.
        row: The layer that is split along its inputs; its bias is added once, to the total.
        module: The part of the model whose input enters the branch.
        entering: Elements per sample of the input, whose gradient the devices add up.
        leaving: Elements per sample of the output, which the devices add up.
        channels: Layers between ``columns`` and ``row`` that act on every channel separately.
        input_has_gradient: Whether the input has a gradient; data does not.
        middle: A second sum between ``columns`` and ``row``, if there is one.
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
    """An array of the data set.

    Attributes:
        shape: Shape of a sample, without the batch axis.
        dtype: NumPy name of the type.
        classes: If not 0, values are whole numbers from ``lowest`` to ``classes - 1``; 0 allows any
            finite number.
        lowest: Smallest whole number allowed.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    classes: int = 0
    lowest: int = 0


class Workload(ABC):
    """What must be equal in every framework: dimensions, initial weights, optimiser, FLOPs.

    Weights are NumPy float32 arrays under canonical names ``part.….leaf``. Leaves are ``weight``
    (matrices ``(in, out)``, kernels ``(height, width, in, out)``), ``depthwise`` (``(height,
    width, channels, 1)``), ``table`` (embeddings), ``scale`` and ``bias``. An adapter may only
    transpose them to the layout of its framework. Parts that are named like units, such as
    ``block0``, can be placed on any stage of a pipeline; all other parts belong to the first stage,
    to the last, or to both.

    Attributes:
        name: Name of the workload on the command line.
        size: Name of its size on the command line.
        dataset: Name of the suite's data set that it trains on.
        global_batch: Samples per step over all devices.
        optimizer: Hyperparameters of Adam.
    """

    name: str
    size: str
    dataset: str
    global_batch: int
    optimizer: Adam

    @property
    def tokens_per_sample(self) -> int:
        """Tokens per sample; 0 if samples are not sequences."""
        return 0

    @property
    def torch_module(self) -> str:
        """Module with ``build(spec, units)`` and ``loss(spec)``; empty without a PyTorch model."""
        return f"adapters.pytorch.models.{self.name}"

    @property
    def tensorflow_module(self) -> str:
        """Module with ``forward(…)`` and ``loss(spec)``; empty without a TensorFlow model."""
        return f"adapters.tensorflow.models.{self.name}"

    @property
    @abstractmethod
    def features(self) -> Field:
        """What the model reads."""

    @property
    @abstractmethod
    def targets(self) -> Field:
        """What the loss compares the model's output with."""

    @property
    def batch_statistics(self) -> bool:
        """Whether the samples of a forward pass affect each other, as in batch normalisation.

        Each replica and each micro-batch is then normalised by its own statistics, as frameworks
        do, and the reference cuts its batch into the same groups. There are no running averages,
        since nothing is evaluated.
        """
        return False

    @property
    def side_input(self) -> bool:
        """Whether every pipeline stage reads the features besides the previous stage's output."""
        return False

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns canonical parameter name to shape, in forward order."""

    @abstractmethod
    def unit_flops(self) -> dict[str, float]:
        """Returns the forward FLOPs per sample of each unit, in forward order.

        Units are the parts between which a pipeline may be cut; their names are a word and their
        position, such as ``block0``. Parts outside the units count with the first or last unit.
        """

    @abstractmethod
    def branches(self) -> list[Branch]:
        """Returns the groups of layers that an intra-layer split shards, in forward order."""

    @abstractmethod
    def boundary(self, unit: int) -> tuple[int, ...]:
        """Returns the shape, without the batch axis, of what enters unit number ``unit``."""

    def ends(self) -> dict[str, tuple[str, ...]]:
        """Says which pipeline stages hold the parameters outside the units.

        Returns:
            Full name of a parameter, or only its first word, to ``first``, ``last`` or both. The
            full name wins if a parameter matches twice.
        """
        return {}

    def divisors(self) -> dict[str, int]:
        """Returns other counts that an intra-layer split must divide, such as attention heads."""
        return {}

    def shallower(self, units: int) -> Workload | None:
        """Makes the same model of fewer units: its first ones, at full width, between its ends.

        A model that is too large to be proven as a whole is proven by such a one.

        Args:
            units: How many units are wanted; a model whose units come in groups may have more.

        Returns:
            The model, or None if it cannot be made shallower.
        """
        return None

    def padded(self, multiple: int) -> Workload | None:
        """Makes the same model with a vocabulary that is padded to a multiple of ``multiple``.

        Args:
            multiple: What the number of logits shall be a multiple of.

        Returns:
            The model, or None if it has no vocabulary to pad.
        """
        return None

    def padding_rows(self) -> dict[str, int]:
        """Returns canonical name to the rows of padding at the end of a padded parameter.

        They start at 0, and stay there as their gradients are 0.
        """
        return {}

    def real_data(self, generator: np.random.Generator) -> Arrays | None:
        """Loads a data set of the workload's own.

        Args:
            generator: Source of any randomness.

        Returns:
            Features and targets of all samples, or None to train on the suite's data set that
            ``dataset`` names.
        """
        return None

    def examples(self, tokens: np.ndarray, generator: np.random.Generator) -> Arrays:
        """Turns a long row of tokens into samples; only for workloads on sequences.

        Args:
            tokens: int (n,).
            generator: Source of any randomness.

        Returns:
            Features and targets, the samples along the first axis.
        """
        raise NotImplementedError

    def units(self) -> list[str]:
        """Returns the names of the units in forward order."""
        return list(self.unit_flops())

    def flops_per_sample(self) -> float:
        """Returns the FLOPs per sample of a training step: forward, and twice that backward."""
        return 3.0 * sum(self.unit_flops().values())


def linear_shapes(name: str, fan_in: int, fan_out: int) -> dict[str, tuple[int, ...]]:
    """Returns canonical name to shape of a linear layer's weight (in, out) and bias (out,)."""
    return {f"{name}.weight": (fan_in, fan_out), f"{name}.bias": (fan_out,)}


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Returns canonical name to shape of a normalisation's scale and bias, both (width,)."""
    return {f"{name}.scale": (width,), f"{name}.bias": (width,)}
