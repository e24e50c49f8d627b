"""The gates that a row must pass: losses, first gradients and parameters against the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# The gates where float32 follows float64 closely: losses are relative, gradients a share of their
# size, updates a share of what training changed.
FIRST_LOSS, LATER_LOSS, GRADIENT, UPDATE = 1e-6, 1e-5, 1e-5, 1e-2
# Where it does not follow closely, a gate is this many times the measured drift of float32 ...
DRIFT_ALLOWANCE = 10.0
# ... but never wider than these caps, because a gate that follows an error cannot catch it.
# The largest drifts of the suite's own models are 1.1e-6 and 2.0e-3 in losses (efficientnet
# small), 0.6 % in gradients and 3.2 % in updates (resnet small): docs/decisions.md.
FIRST_LOSS_CAP, LATER_LOSS_CAP, GRADIENT_CAP, UPDATE_CAP = 1e-4, 0.05, 0.1, 0.5
FLOAT32 = np.finfo(np.float32)
# A reference gradient below this share of the model's largest is zero up to rounding.
NOTHING = 1e-9
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """What a comparison with the reference says.

    Attributes:
        status: ok or failed.
        error: The largest error, as a share of its gate.
        reason: Which quantities left their gates; empty if none did.
        proof: What the launch was compared with: the column of that name.
    """

    status: str
    error: float
    reason: str
    proof: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a launch is judged by.

    Attributes:
        losses: Losses of the first steps.
        gradients: Canonical name to the gradient of the first step.
        parameters: Canonical name to the parameter after these steps.
    """

    losses: Sequence[float]
    gradients: Arrays
    parameters: Arrays


@dataclass(frozen=True)
class Drift:
    """How far float32 leaves float64 on one device, for the same framework.

    Attributes:
        first_loss: Relative difference of the first loss.
        losses: Largest relative difference of the losses.
        gradients: Norm of the difference, as a share of the gradient's.
        updates: Norm of the difference, as a share of what training changed.
    """

    first_loss: float = 0.0
    losses: float = 0.0
    gradients: float = 0.0
    updates: float = 0.0


def measure_drift(single: Evidence, reference: Evidence, initial: Arrays) -> Drift:
    """Measures the drift between a float32 and a float64 launch of one framework on one device.

    Args:
        single: Evidence of the float32 launch.
        reference: Evidence of the float64 launch.
        initial: Canonical name to initial parameter, which both launches began with.
    """
    return Drift(
        relative(single.losses[:1], reference.losses[:1]),
        relative(single.losses, reference.losses),
        _gradients(single.gradients, reference.gradients, _norm),
        update_error(single.parameters, reference, initial),
    )


def check(
    candidate: Evidence, reference: Evidence, initial: Arrays, drift: Drift | None = None
) -> Verdict:
    """Compares a launch with a float64 reference on one device, from the same weights and batches.

    Rounding errors grow with depth and over the steps, and can put a relu on the other side of its
    kink. With a measured drift a gate is therefore ten times that drift, if that is wider, up to
    the gate's cap.

    Args:
        candidate: Evidence of the launch to be judged.
        reference: Evidence of the float64 launch; see :func:`unfit_reference` for one that proves
            nothing.
        initial: Canonical name to initial parameter, which both launches began with.
        drift: How far float32 on one device leaves float64; None until it is measured.

    Returns:
        ``ok``, or ``failed`` with the quantities that left their gates.
    """
    known = drift or Drift()
    checks = [
        ("first loss", relative(candidate.losses[:1], reference.losses[:1])
         / _gate(FIRST_LOSS, known.first_loss, FIRST_LOSS_CAP)),
        ("losses", relative(candidate.losses, reference.losses)
         / _gate(LATER_LOSS, known.losses, LATER_LOSS_CAP)),
        ("gradients", _gradients_in_gates(candidate, reference, drift)),
        ("updates", update_error(candidate.parameters, reference, initial)
         / _gate(UPDATE, known.updates, UPDATE_CAP)),
    ]
    errors = {name: error if np.isfinite(error) else np.inf for name, error in checks}
    worst = max(errors.values())
    if worst <= 1.0:
        return Verdict("ok", worst, "")
    failed = ", ".join(f"{name} by {error:.3g}" for name, error in errors.items() if error > 1.0)
    return Verdict("failed", worst, f"differs from the reference, in gates: {failed}")


def relative(candidate: Sequence[float], reference: Sequence[float]) -> float:
    """Returns the largest relative difference; infinite if the lists differ in length.

    Args:
        candidate: Values of the launch to be judged.
        reference: Values of the reference.
    """
    if len(candidate) != len(reference):
        return float("inf")
    a, b = np.asarray(candidate, float), np.asarray(reference, float)
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-12)))


def unfit_reference(reference: Evidence, initial: Arrays) -> str:
    """Returns why nothing can be compared with this reference; empty if it is fit.

    A reference agrees with wrong trainings as well as with right ones if it computes NaN, if it
    does not change its parameters, or if float32 cannot square its gradients (Adam keeps their
    squares).

    Args:
        reference: Evidence of the float64 launch.
        initial: Canonical name to initial parameter.
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


def _gradients_in_gates(candidate: Evidence, reference: Evidence, drift: Drift | None) -> float:
    """Returns the error of the gradients as a share of their gate.

    Gradients are compared entry by entry, strictly; with a measured drift also by norms, and the
    better of the two counts. A relu on the other side of its kink moves one entry by any amount,
    so no multiple of a drift bounds the worst entry, while a norm counts it as the one entry that
    it is.
    """
    strict = _gradients(candidate.gradients, reference.gradients, _largest) / GRADIENT
    if drift is None:
        return strict
    allowed = _gate(GRADIENT, drift.gradients, GRADIENT_CAP)
    return min(strict, _gradients(candidate.gradients, reference.gradients, _norm) / allowed)


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max())


def _norm(values: np.ndarray) -> float:
    return float(np.linalg.norm(values))


def _gradients(
    candidate: Arrays, reference: Arrays, size: Callable[[np.ndarray], float]
) -> float:
    """Returns the worst tensor's difference as a share of its scale.

    It is infinite if tensors are missing. The scale is the tensor's own size, or a thousandth of
    the model's largest if that is more. Where the true gradient is zero all of it is noise, and
    the model's size says how much is allowed. Examples are a bias that a normalisation takes away,
    and a key bias, which shifts all scores of a query alike.
    """
    if candidate.keys() != reference.keys():
        return float("inf")
    if any(candidate[name].shape != expected.shape for name, expected in reference.items()):
        return float("inf")
    sizes = {name: size(value) for name, value in reference.items()}
    model, nothing = max(sizes.values()), _without_gradient(reference)
    scales = {
        name: model if name in nothing else max(own, 1e-3 * model) for name, own in sizes.items()
    }
    errors = [size(candidate[name] - expected) / scales[name]
              for name, expected in reference.items()]
    return float(np.max(errors))  # NumPy's max keeps a NaN, which Python's may lose


def _without_gradient(reference: Arrays) -> set[str]:
    """Returns the tensors whose true gradient is zero."""
    sizes = {name: _largest(value) for name, value in reference.items()}
    return {name for name, own in sizes.items() if own <= NOTHING * max(sizes.values())}


def update_error(candidate: Arrays, reference: Evidence, initial: Arrays) -> float:
    """Returns the norm of the parameters' difference over the norm of what training changed.

    Adam's first steps are close to sign(gradient), so an entry whose gradient is rounding noise
    moves by a whole learning rate. Therefore a norm is compared and not the worst entry, and
    tensors whose true gradient is zero are left out.

    Args:
        candidate: Canonical name to parameter after the first steps of the launch to be judged.
        reference: Evidence of the reference.
        initial: Canonical name to initial parameter.

    Returns:
        The share; infinite if tensors are missing or nothing changed.
    """
    expected = reference.parameters
    if candidate.keys() != expected.keys():
        return float("inf")
    names = expected.keys() - _without_gradient(reference.gradients)
    difference = sum(float(np.sum((candidate[n] - expected[n]) ** 2)) for n in names)
    change = sum(float(np.sum((expected[n] - initial[n]) ** 2)) for n in names)
    return float(np.sqrt(difference / change)) if change else float("inf")
