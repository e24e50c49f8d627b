"""How far 16-bit formats and TF32 may differ from float64, once a case is proven in float32.

u is the unit roundoff, half the distance from 1 to the next number: 2^-8 with bfloat16's 8
significant bits and 2^-11 with the 11 of TF32 and float16 (Higham, "Accuracy and stability of
numerical algorithms", 2002, section 2.1). A loss is a mean over many products, whose roundings
mostly cancel. The gradients of single tensors do not cancel (a relu on the other side of its kink,
a normalisation over few values), so the gradient of the whole model is bounded, and what ten steps
changed.

The bounds leave room over what was measured (``docs/decisions.md``), and still catch each of these
mistakes: parameters kept in bfloat16, updates that round away, a format that was asked for but not
used.

Gradients that are computed in float32 and sent in 16 bits have bounds of their own
(:func:`check_compression`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from suite.analysis.parity import (
    DRIFT_ALLOWANCE,
    FIRST_LOSS,
    FIRST_LOSS_CAP,
    LATER_LOSS_CAP,
    Arrays,
    Evidence,
    Verdict,
    relative,
    update_error,
)
from suite.contract.case import Case

ROUNDOFF = {"tf32": 2.0**-11, "bf16": 2.0**-8, "fp16": 2.0**-11}
# Half of the smallest number above zero, which an entry that is too small for the format may lose.
UNDERFLOW = {"fp16": 2.0**-25, "bf16": 2.0**-134}
# The bound of losses is in units of u; the others are shares of their norms.
LOSSES_IN_U, GRADIENT, UPDATE = 4.0, 0.25, 0.4
COMPRESSED_UPDATE = 0.05
# By chance one float32 in 65536 is a bfloat16 too; a parameter that is kept in bfloat16 always is.
COARSE_SHARE = 0.05
# Gradients that differ by less, in units of u, were not rounded: float32 differs by a hundredth of
# this, bfloat16 by forty times it.
LEAST_IN_U = 1 / 64


def check_precision(
    candidate: Evidence, reference: Evidence, initial: Arrays, dtype: str
) -> Verdict:
    """Compares losses, gradient and updates in a coarse format with the float64 reference.

    Args:
        candidate: Evidence of the launch to be judged.
        reference: Evidence of the float64 launch.
        initial: Canonical name to initial parameter.
        dtype: Number format of the launch, ``tf32`` or ``bf16``.
    """
    roundoff = ROUNDOFF[dtype]
    gradient = _whole_error(candidate.gradients, reference.gradients)
    errors = {
        "losses": relative(candidate.losses, reference.losses) / (LOSSES_IN_U * roundoff),
        "gradient": gradient / GRADIENT,
        "updates": update_error(candidate.parameters, reference, initial) / UPDATE,
    }
    if dtype == "bf16":
        errors["bfloat16 parameters"] = _coarse_share(candidate.parameters, initial) / COARSE_SHARE
        # Kernels may use TF32 but need not; a case in bfloat16 has to compute in bfloat16.
        errors["no bfloat16 rounding"] = LEAST_IN_U * roundoff / gradient if gradient else np.inf
    return _verdict(errors, f"in {dtype}")


def check_compression(
    candidate: Evidence, reference: Evidence, initial: Arrays, sent_as: str, devices: int
) -> Verdict:
    """Compares a launch whose gradients were sent in 16 bits with the float64 reference.

    On p devices an entry is rounded p + 1 times: when it is cast, when it is divided, and in p - 1
    sums. Each rounding is within u of what the devices send, whose norm is sqrt(p) times that of
    their mean if they differ by uncorrelated noise. Independent roundings add up in quadrature
    (Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019). An entry
    that is too small for the format loses up to half of the format's smallest number. Rounding to
    nearest favours no direction, so the length along the true gradient stays within u. The first
    loss comes before any gradient and has float32's gate.

    Args:
        candidate: Evidence of the launch to be judged.
        reference: Evidence of the float64 launch.
        initial: Canonical name to initial parameter.
        sent_as: Format in which gradients were sent, ``fp16`` or ``bf16``.
        devices: Number of devices.
    """
    roundoff = ROUNDOFF[sent_as]
    lost = UNDERFLOW[sent_as] * _underflows(reference.gradients)
    gradient = _whole_error(candidate.gradients, reference.gradients)
    errors = {
        "first loss": relative(candidate.losses[:1], reference.losses[:1])
        / (DRIFT_ALLOWANCE * FIRST_LOSS),
        "losses": relative(candidate.losses, reference.losses) / roundoff,
        "gradient": gradient / ((devices + 1) ** 0.5 * (devices**0.5 * roundoff + lost)),
        "scale": _scale_error(candidate.gradients, reference.gradients) / (roundoff + lost),
        "updates": update_error(candidate.parameters, reference, initial) / COMPRESSED_UPDATE,
        f"no {sent_as} rounding": LEAST_IN_U * roundoff / gradient if gradient else np.inf,
    }
    return _verdict(errors, f"with gradients sent as {sent_as}")


def check_losses(found: Sequence[float], single: Sequence[float], case: Case) -> Verdict:
    """Losses of a model that is too large for more, whose first units are proven beside it.

    They are held against the same model on one device in float32, which rounds as the case does:
    so the bounds are the caps that gates of float32 have, and in a coarser format its roundings.

    Args:
        found: Losses of the case's first steps.
        single: The same of one device in float32; empty if no device could compute them, so that
            the losses must be finite and no more is asked.
        case: The case.

    Returns:
        ``ok``, or ``failed`` with what left its bounds.
    """
    if not np.isfinite(found).all():
        return Verdict("failed", float("inf"), "the whole model computes NaN or infinity")
    if not single:
        return Verdict("ok", 0.0, "")
    roundoff = ROUNDOFF.get(case.compression or case.dtype, 0.0)
    first = 0.0 if case.compression else LOSSES_IN_U * roundoff
    return _verdict({
        "first loss": relative(found[:1], single[:1]) / (FIRST_LOSS_CAP + first),
        "losses": relative(found, single) / (LATER_LOSS_CAP + LOSSES_IN_U * roundoff),
    }, "the whole model is")


def _verdict(errors: dict[str, float], lead: str) -> Verdict:
    errors = {name: error if np.isfinite(error) else np.inf for name, error in errors.items()}
    worst = max(errors.values())
    if worst <= 1.0:
        return Verdict("ok", worst, "")
    failed = ", ".join(f"{name} by {error:.3g}" for name, error in errors.items() if error > 1.0)
    return Verdict("failed", worst, f"{lead} beyond its bounds, in bounds: {failed}")


def _norm(arrays: Arrays) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(a, dtype=float))) for a in arrays.values())))


def _underflows(gradients: Arrays) -> float:
    """Returns the norm of an error of 1 in every entry, as a share of the gradient's norm."""
    return float(np.sqrt(sum(array.size for array in gradients.values()))) / _norm(gradients)


def _scale_error(candidate: Arrays, reference: Arrays) -> float:
    """Returns by how much the gradient is longer or shorter along the reference.

    It is infinite if tensors are missing.
    """
    if candidate.keys() != reference.keys():
        return float("inf")
    along = sum(float(np.sum(candidate[name] * reference[name], dtype=float)) for name in reference)
    return abs(along / _norm(reference) ** 2 - 1)


def _whole_error(candidate: Arrays, reference: Arrays) -> float:
    """Returns the norm of the difference of all gradients over the norm of all.

    It is infinite if tensors are missing or have other shapes.
    """
    if candidate.keys() != reference.keys():
        return float("inf")
    if any(candidate[name].shape != expected.shape for name, expected in reference.items()):
        return float("inf")
    return _norm({name: candidate[name] - reference[name] for name in reference}) / _norm(reference)


def _coarse_share(parameters: Arrays, initial: Arrays) -> float:
    """Returns the share of the entries changed by training that bfloat16 holds exactly."""
    coarse = changed = 0
    for name, before in initial.items():
        after = np.ascontiguousarray(parameters[name], np.float32)
        moved = after != before
        changed += int(moved.sum())
        coarse += int(((after.view(np.uint32) & 0xFFFF == 0) & moved).sum())
    return coarse / changed if changed else 1.0
