"""PyTorch with a fault planted by FAULT: the parity gate must catch each."""

from adapters.pytorch import (
    DISTRIBUTIONS,
    ENGINES,
    installation_problem,
    launch_plan,
    unsupported_reason,
)

__all__ = [
    "DISTRIBUTIONS", "ENGINES", "installation_problem", "launch_plan", "unsupported_reason",
]
