"""PyTorch with a fault planted by FAULT: the parity gate must catch each."""

from adapters.pytorch import (
    TRAITS,
    installation_problem,
    launch_plan,
    unsupported_reason,
)

__all__ = [
    "TRAITS", "installation_problem", "launch_plan", "unsupported_reason",
]
