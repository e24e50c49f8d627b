"""Dense layers, in pairs."""

from torch import nn

from tests.reference.common import WIDTHS
from tests.reference.torch_models import Split


def make() -> nn.Sequential:
    pairs = [
        [part for i in (first, first + 1)
         for part in (nn.Linear(WIDTHS[i], WIDTHS[i + 1]), nn.GELU(approximate="tanh"))]
        for first in (0, 2)
    ]
    return nn.Sequential(*(nn.Sequential(*pair) for pair in pairs), nn.Linear(*WIDTHS[-2:]))


def splits() -> list[Split]:
    return [Split((f"{i}.0",), (f"{i}.0",), (f"{i}.2",)) for i in (0, 1)]
