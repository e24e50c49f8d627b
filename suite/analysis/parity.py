"""The gates a row must pass: losses, first gradients and parameters against the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# Gates where float32 follows float64 closely: relative losses, gradients as shares of their size,
# updates as a share of what training changed.
FIRST_LOSS, LATER_LOSS, GRADIENT, UPDATE = 1e-6, 1e-5, 1e-5, 1e-2
# Where it does not, a gate is this many times the measured drift of float32 ...
DRIFT_ALLOWANCE = 10.0
# ... but never wider than these caps: a gate that follows what it should catch catches nothing.
# The largest drifts of the suite's own models are 1.1e-6 and 2.0e-3 in losses (efficientnet
# small), 0.6 % in gradients and 3.2 % in updates (resnet small): docs/decisions.md.
FIRST_LOSS_CAP, LATER_LOSS_CAP, GRADIENT_CAP, UPDATE_CAP = 1e-4, 0.05, 0.1, 0.5
FLOAT32 = np.finfo(np.float32)
# Share of the model's largest gradient below which the reference's own is rounding of zero.
NOTHING = 1e-9
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """``status`` ok or failed; ``error`` the largest error as a share of its gate.

    ``proof`` says what it was held against: the column of that name.
    """

    status: str
    error: float
    reason: str
    proof: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a launch proves with: losses of the first steps, gradients before, parameters after."""

    losses: Sequence[float]
    gradients: Arrays
    parameters: Arrays


@dataclass(frozen=True)
class Drift:
    """How far float32 leaves float64 on one device: relative losses, norms of the others."""

    first_loss: float = 0.0
    losses: float = 0.0
    gradients: float = 0.0
    updates: float = 0.0


def measure_drift(single: Evidence, reference: Evidence, initial: Arrays) -> Drift:
    """From a float32 and a float64 launch of the same framework on one device."""
    return Drift(
        relative(single.losses[:1], reference.losses[:1]),
        relative(single.losses, reference.losses),
        _gradients(single.gradients, reference.gradients, _norm),
        update_error(single.parameters, reference, initial),
    )


def check(
    found: Evidence, reference: Evidence, initial: Arrays, drift: Drift | None = None
) -> Verdict:
    """Compares with a single-device float64 reference from the same weights and batches.

    Rounding grows with depth and over the steps, and flips a relu at its kink: with a measured
    drift a gate is ten times that drift where that is wider, up to the cap of the gate.

    Args:
        found: Evidence of the launch to be judged.
        reference: Evidence of the float64 launch; see :func:`unfit_reference` for one that proves
            nothing.
        initial: Canonical name -> initial parameter, which both launches began with.
        drift: How far float32 on one device leaves float64; None until it is measured.

    Returns:
        ``ok``, or ``failed`` with the quantities that left their gates.
    """
    known = drift or Drift()
    checks = [
        ("first loss", relative(found.losses[:1], reference.losses[:1])
         / _gate(FIRST_LOSS, known.first_loss, FIRST_LOSS_CAP)),
        ("losses", relative(found.losses, reference.losses)
         / _gate(LATER_LOSS, known.losses, LATER_LOSS_CAP)),
        ("gradients", _gradients_in_gates(found, reference, drift)),
        ("updates", update_error(found.parameters, reference, initial)
         / _gate(UPDATE, known.updates, UPDATE_CAP)),
    ]
    errors = {name: error if np.isfinite(error) else np.inf for name, error in checks}
    worst = max(errors.values())
    if worst <= 1.0:
        return Verdict("ok", worst, "")
    failed = ", ".join(f"{name} by {error:.3g}" for name, error in errors.items() if error > 1.0)
    return Verdict("failed", worst, f"differs from the reference, in gates: {failed}")


def relative(found: Sequence[float], reference: Sequence[float]) -> float:
    """Largest relative difference; infinite between lists of different lengths."""
    if len(found) != len(reference):
        return float("inf")
    a, b = np.asarray(found, float), np.asarray(reference, float)
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-12)))


def unfit_reference(reference: Evidence, initial: Arrays) -> str:
    """Why nothing can be held against this reference, or empty.

    A reference that computes NaN, that does not change its parameters, or whose gradients float32
    cannot square (Adam keeps their squares) agrees with wrong trainings as well as with right ones.
    """
    arrays = [*reference.gradients.values(), *reference.parameters.values()]
    if not np.isfinite(reference.losses).all() or not all(np.isfinite(a).all() for a in arrays):
        return "the float64 reference itself computes NaN or infinity"
    trained = reference.parameters.keys() - _without_gradient(reference.gradients)
    if not any(np.any(reference.parameters[name] != initial[name]) for name in trained):
        return "the float64 reference does not train: no parameter changes in its first steps"
    largest = max(_largest(gradient) for gradient in reference.gradients.values())
    if not float(FLOAT32.tiny) <= largest**2 <= float(FLOAT32.max):
        return (f"the largest gradient is {largest:.3g}: float32 cannot hold its square, which the "
                "optimiser keeps")
    return ""


def _gate(strict: float, drift: float, cap: float) -> float:
    return min(max(strict, DRIFT_ALLOWANCE * drift), cap)


def _gradients_in_gates(found: Evidence, reference: Evidence, drift: Drift | None) -> float:
    """By entries, strictly; with a drift also by norms, and the better of the two counts.

    A flipped relu moves one entry by any amount, so no multiple of a drift bounds the worst entry;
    a norm counts it as the one entry that it is.
    """
    strict = _gradients(found.gradients, reference.gradients, _largest) / GRADIENT
    if drift is None:
        return strict
    allowed = _gate(GRADIENT, drift.gradients, GRADIENT_CAP)
    return min(strict, _gradients(found.gradients, reference.gradients, _norm) / allowed)


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values))


def _gradients(
    found: Arrays, reference: Arrays, size: Callable[[np.ndarray], float]
) -> float:
    """Worst tensor's difference as a share of its scale; a missing tensor is infinite.

    The scale is the tensor's own size, or a thousandth of the model's largest where that is more.
    Where the true gradient is zero all of it is noise, and the model's size says how much: a bias
    that a normalisation takes away, a key bias, which shifts all scores of a query alike.
    """
    if found.keys() != reference.keys():
        return float("inf")
    if any(found[name].shape != expected.shape for name, expected in reference.items()):
        return float("inf")
    sizes = {name: size(value) for name, value in reference.items()}
    model, nothing = max(sizes.values()), _without_gradient(reference)
    scales = {
        name: model if name in nothing else max(own, 1e-3 * model) for name, own in sizes.items()
    }
    errors = [size(found[name] - expected) / scales[name] for name, expected in reference.items()]
    return float(np.max(errors))  # NaN stays NaN here; Python's max would lose it


def _without_gradient(reference: Arrays) -> set[str]:
    """Tensors whose true gradient is zero."""
    sizes = {name: _largest(value) for name, value in reference.items()}
    return {name for name, own in sizes.items() if own <= NOTHING * max(sizes.values())}


def update_error(found: Arrays, reference: Evidence, initial: Arrays) -> float:
    """Norm of the parameters' difference over the norm of what training changed.

    Adam's first steps are close to sign(gradient): an entry whose gradient is rounding noise moves
    by a whole learning rate, so a norm is compared and not the worst entry, and tensors whose true
    gradient is zero are left out.
    """
    expected = reference.parameters
    if found.keys() != expected.keys():
        return float("inf")
    names = expected.keys() - _without_gradient(reference.gradients)
    difference = sum(float(np.sum((found[n] - expected[n]) ** 2)) for n in names)
    change = sum(float(np.sum((expected[n] - initial[n]) ** 2)) for n in names)
    return float(np.sqrt(difference / change)) if change else float("inf")
