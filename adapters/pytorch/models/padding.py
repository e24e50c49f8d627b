"""The padding of a vocabulary, kept out of the loss."""

from __future__ import annotations

import torch

from suite.contract.workloads.transformer import Transformer


def logit_mask(spec: Transformer) -> torch.Tensor | None:
    """Makes what a model adds to its logits as a bias of the product that computes them.

    A bias costs a product next to nothing, where cutting the padding off would copy the logits.

    Args:
        spec: The workload.

    Returns:
        The mask, (rows of the token table,), or None without padding.
    """
    return torch.from_numpy(spec.logit_mask()) if spec.padding else None
