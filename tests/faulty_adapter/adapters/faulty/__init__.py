"""PyTorch with a fault planted by FAULT: the parity gate must catch each."""

from adapters.pytorch import DISTRIBUTIONS, ENGINES, launch_plan, unsupported_reason

__all__ = ["DISTRIBUTIONS", "ENGINES", "launch_plan", "unsupported_reason"]
