"""What TF32 and bfloat16 may differ by from float64, once the same case is proven in float32.

u is the unit roundoff: half the distance from 1 to the next number, 2^-8 with bfloat16's 8
significant bits and 2^-11 with TF32's 11 (Higham, "Accuracy and stability of numerical algorithms",
2002, section 2.1). A loss is a mean over many products, whose roundings mostly cancel; gradients
of single tensors do not (a flipped relu, a normalisation over few values), so the model's whole
gradient is bounded, and what ten steps changed. The bounds leave room over what was measured
(``docs/decisions.md``), and each of these mistakes leaves them: parameters kept in bfloat16,
updates that round away, the asked format never used.
"""

from __future__ import annotations

import numpy as np

from suite.analysis.parity import Arrays, Evidence, Verdict, relative, update_error

ROUNDOFF = {"tf32": 2.0**-11, "bf16": 2.0**-8}
# Losses in units of u; the others as shares of their norms.
LOSSES_IN_U, GRADIENT, UPDATE = 4.0, 0.25, 0.4
# One float32 in 65536 happens to be a bfloat16; a parameter kept in bfloat16 always is.
COARSE_SHARE = 0.05
# float32 leaves float64 by a hundredth of this, bfloat16 by forty times.
LEAST_IN_U = 1 / 64


def check_precision(
    found: Evidence, reference: Evidence, initial: Arrays, dtype: str
) -> Verdict:
    """Losses, gradient and updates in the asked format against the float64 reference."""
    roundoff = ROUNDOFF[dtype]
    gradient = _whole_error(found.gradients, reference.gradients)
    errors = {
        "losses": relative(found.losses, reference.losses) / (LOSSES_IN_U * roundoff),
        "gradient": gradient / GRADIENT,
        "updates": update_error(found.parameters, reference, initial) / UPDATE,
    }
    if dtype == "bf16":
        errors["bfloat16 parameters"] = _coarse_share(found.parameters, initial) / COARSE_SHARE
        # TF32 is a permission that kernels need not use; bfloat16 is what was asked to be computed.
        errors["no bfloat16 rounding"] = LEAST_IN_U * roundoff / gradient if gradient else np.inf
    errors = {name: error if np.isfinite(error) else np.inf for name, error in errors.items()}
    worst = max(errors.values())
    if worst <= 1.0:
        return Verdict("ok", worst, "")
    failed = ", ".join(f"{name} by {error:.3g}" for name, error in errors.items() if error > 1.0)
    return Verdict("failed", worst, f"in {dtype} beyond its bounds, in bounds: {failed}")


def _whole_error(found: Arrays, reference: Arrays) -> float:
    """Norm of the difference of all gradients over the norm of all; infinite for other tensors."""
    if found.keys() != reference.keys():
        return float("inf")
    if any(found[name].shape != expected.shape for name, expected in reference.items()):
        return float("inf")
    difference = sum(float(np.sum((found[n] - reference[n]) ** 2)) for n in reference)
    return float(np.sqrt(difference / sum(float(np.sum(a**2)) for a in reference.values())))


def _coarse_share(parameters: Arrays, initial: Arrays) -> float:
    """Of the entries that training changed, those that bfloat16 holds exactly."""
    coarse = changed = 0
    for name, before in initial.items():
        after = np.ascontiguousarray(parameters[name], np.float32)
        moved = after != before
        changed += int(moved.sum())
        coarse += int(((after.view(np.uint32) & 0xFFFF == 0) & moved).sum())
    return coarse / changed if changed else 1.0
