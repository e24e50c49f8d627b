"""The gates a row must pass: losses, first gradients and parameters against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FIRST_LOSS, LATER_LOSS, GRADIENT, UPDATE = 1e-6, 1e-5, 1e-5, 1e-2
DRIFT_ALLOWANCE = 10.0
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """``status`` ok or failed; ``error`` the largest error as a share of its gate."""

    status: str
    error: float
    reason: str


@dataclass(frozen=True)
class Evidence:
    """What a launch proves with: losses of the first steps, gradients before, parameters after."""

    losses: Sequence[float]
    gradients: Arrays
    parameters: Arrays


@dataclass(frozen=True)
class Drift:
    """How far float32 leaves float64 on one device: relative losses, norm of the updates."""

    losses: float = 0.0
    updates: float = 0.0


def measure_drift(single: Evidence, reference: Evidence, initial: Arrays) -> Drift:
    """From a float32 and a float64 launch of the same framework on one device."""
    return Drift(
        _relative(single.losses, reference.losses),
        _updates(single.parameters, reference.parameters, initial),
    )


def check(
    found: Evidence, reference: Evidence, initial: Arrays, drift: Drift | None = None
) -> Verdict:
    """Compares with a single-device float64 reference from the same weights and batches.

    Rounding grows over the steps, so the gates of what comes later are widened to ten times the
    measured drift where that is larger; the first loss and gradients have no such excuse.
    """
    drift = drift or Drift()
    later = max(LATER_LOSS, DRIFT_ALLOWANCE * drift.losses)
    update = max(UPDATE, DRIFT_ALLOWANCE * drift.updates)
    checks = [
        ("first loss", _relative(found.losses[:1], reference.losses[:1]) / FIRST_LOSS),
        ("losses", _relative(found.losses, reference.losses) / later),
        ("gradients", _gradients(found.gradients, reference.gradients) / GRADIENT),
        ("updates", _updates(found.parameters, reference.parameters, initial) / update),
    ]
    errors = {name: error if np.isfinite(error) else np.inf for name, error in checks}
    worst = max(errors.values())
    if worst <= 1.0:
        return Verdict("ok", worst, "")
    failed = ", ".join(f"{name} by {error:.3g}" for name, error in errors.items() if error > 1.0)
    return Verdict("failed", worst, f"differs from the reference, in gates: {failed}")


def _relative(found: Sequence[float], reference: Sequence[float]) -> float:
    if len(found) != len(reference):
        return float("inf")
    a, b = np.asarray(found, float), np.asarray(reference, float)
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-12)))


def _gradients(found: Arrays, reference: Arrays) -> float:
    """Largest difference as a share of the tensor's largest entry; a missing tensor is infinite."""
    if found.keys() != reference.keys():
        return float("inf")
    # A key bias shifts all scores of a query alike: its true gradient is zero, and only the
    # model-wide scale says what is noise.
    scale = max(float(np.abs(value).max()) for value in reference.values())
    worst = 0.0
    for name, expected in reference.items():
        if found[name].shape != expected.shape:
            return float("inf")
        own = max(float(np.abs(expected).max()), 1e-3 * scale)
        worst = max(worst, float(np.abs(found[name] - expected).max()) / own)
    return worst


def _updates(found: Arrays, reference: Arrays, initial: Arrays) -> float:
    """Norm of the parameters' difference over the norm of what training changed.

    Adam's first steps are close to sign(gradient): an entry whose gradient is rounding noise moves
    by a whole learning rate, so a norm is compared and not the worst entry.
    """
    if found.keys() != reference.keys():
        return float("inf")
    difference = sum(float(np.sum((found[n] - reference[n]) ** 2)) for n in reference)
    change = sum(float(np.sum((reference[n] - initial[n]) ** 2)) for n in reference)
    return float(np.sqrt(difference / change)) if change else float("inf")
