"""PyTorch with a fault planted by FAULT: the parity gate must catch each."""

from dataclasses import replace

from adapters import pytorch
from adapters.pytorch import installation_problem, launch_plan, unsupported_reason

__all__ = ["TRAITS", "installation_problem", "launch_plan", "unsupported_reason"]
# A session reads the fault when it opens.
TRAITS = replace(pytorch.TRAITS, late=(*pytorch.TRAITS.late, "FAULT"))
