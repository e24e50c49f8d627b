"""The network in PyTorch; it knows nothing of how it is split."""

from torch import nn


class Block(nn.Module):
    """A pre-norm residual block."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand, self.contract = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        """Input and output are (batch, width)."""
        hidden = nn.functional.gelu(self.expand(self.norm(x)))
        return x + self.contract(hidden)


class Network(nn.Module):
    """The network, or the contiguous ``units`` of a pipeline stage."""

    def __init__(self, spec, units):
        super().__init__()
        chosen = range(spec.blocks) if units is None else units
        last = spec.blocks - 1 in chosen
        self.embed = nn.Linear(spec.columns, spec.width) if 0 in chosen else nn.Identity()
        self.units = nn.ModuleDict({str(index): Block(spec.width) for index in chosen})
        self.norm = nn.LayerNorm(spec.width) if last else nn.Identity()
        self.head = nn.Linear(spec.width, spec.classes) if last else nn.Identity()

    def forward(self, x):
        """Maps (batch, columns) to logits (batch, classes); stages exchange (batch, width)."""
        x = self.embed(x)
        for block in self.units.values():
            x = block(x)
        return self.head(self.norm(x))


build = Network


def loss(spec):
    """Returns the cross-entropy."""
    return nn.functional.cross_entropy
