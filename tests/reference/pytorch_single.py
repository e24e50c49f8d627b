"""A training loop on one device."""

import torch
from common import BATCH, WIDTHS, batch, report
from torch import nn

torch.set_num_threads(1)
layers = [nn.Linear(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)]
parts = [part for layer in layers[:-1] for part in (layer, nn.GELU(approximate="tanh"))]
model = nn.Sequential(*parts, layers[-1])
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
x, y = (torch.from_numpy(array) for array in batch(BATCH))
y = y.long()


def step() -> None:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()


report(step)
