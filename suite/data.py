"""Real data without a network: what scikit-learn ships, the standard library's own source."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import numpy as np

from suite.spec.errors import UsageError
from suite.spec.workloads import MlpSpec, Workload

Arrays = tuple[np.ndarray, np.ndarray]
CORPUS_BYTES, MAXIMUM_BATCHES = 4_000_000, 16


def load_data(workload: Workload, source: str, seed: int) -> Arrays:
    """Features and targets, shuffled by ``seed``, at least one global batch of them.

    ``source`` is ``real``, ``synthetic`` or the path of an ``.npz`` with ``features, targets``.
    MLP: float32 (samples, in) and int32 or float32 (samples,);
    GPT: int32 (samples, sequence) twice.
    """
    generator = np.random.default_rng([seed, 2])
    features, targets = _source(workload, source, generator)
    if len(features) < workload.global_batch:
        repeats = -(-workload.global_batch // max(1, len(features)))
        features, targets = np.tile(features, (repeats, 1)), np.concatenate([targets] * repeats)
    order = generator.permutation(len(features))[: MAXIMUM_BATCHES * workload.global_batch]
    return np.ascontiguousarray(features[order]), np.ascontiguousarray(targets[order])


def _source(workload: Workload, source: str, generator: np.random.Generator) -> Arrays:
    if source == "synthetic":
        return _synthetic(workload, generator)
    if source != "real":
        return _file(workload, Path(source))
    if isinstance(workload, MlpSpec):
        return _table(workload)
    return _tokens(workload.sequence, workload.vocabulary)


def _table(workload: MlpSpec) -> Arrays:
    from sklearn import datasets

    loaders = {"breast-cancer": datasets.load_breast_cancer, "digits": datasets.load_digits}
    features, targets = loaders[workload.dataset](return_X_y=True)
    scale = features.std(0)
    features = (features - features.mean(0)) / np.where(scale == 0, 1, scale)
    kind = np.float32 if workload.binary else np.int32
    return features.astype(np.float32), targets.astype(kind)


def _tokens(sequence: int, vocabulary: int) -> Arrays:
    """Bytes of the standard library's sources; the target is the next byte."""
    library = Path(sysconfig.get_paths()["stdlib"])
    text = b""
    for path in sorted(library.glob("*.py")):
        text += path.read_bytes()
        if len(text) >= CORPUS_BYTES:
            break
    stream = np.frombuffer(text, np.uint8).astype(np.int32) % vocabulary
    count = (len(stream) - 1) // sequence
    features = stream[: count * sequence].reshape(count, sequence)
    return features, stream[1 : count * sequence + 1].reshape(count, sequence)


def _synthetic(workload: Workload, generator: np.random.Generator) -> Arrays:
    samples = 4 * workload.global_batch
    if isinstance(workload, MlpSpec):
        features = generator.standard_normal((samples, workload.widths[0])).astype(np.float32)
        classes = generator.integers(0, max(2, workload.widths[-1]), samples)
        return features, classes.astype(np.float32 if workload.binary else np.int32)
    shape = (samples, workload.sequence + 1)
    tokens = generator.integers(0, workload.vocabulary, shape).astype(np.int32)
    return tokens[:, :-1].copy(), tokens[:, 1:].copy()


def _file(workload: Workload, path: Path) -> Arrays:
    fix = "save it with numpy.savez(path, features=..., targets=...)"
    if not path.is_file():
        raise UsageError("--data", str(path), "real, synthetic or an existing .npz file", fix)
    try:
        with np.load(path) as arrays:
            features, targets = arrays["features"], arrays["targets"]
    except (ValueError, KeyError, OSError) as error:
        raise UsageError("--data", str(path), "arrays features and targets", fix) from error
    width = workload.widths[0] if isinstance(workload, MlpSpec) else workload.sequence
    if features.ndim != 2 or features.shape[1] != width or len(features) != len(targets):
        expected = f"features (samples, {width}) and as many targets"
        raise UsageError("--data", f"{features.shape}, {targets.shape}", expected, fix)
    shape = (len(features),) if isinstance(workload, MlpSpec) else features.shape
    if not len(features) or targets.shape != shape:
        raise UsageError("targets of --data", targets.shape, f"{shape}, at least one sample", fix)
    classes = max(2, workload.widths[-1]) if isinstance(workload, MlpSpec) else workload.vocabulary
    _check_range("targets", targets, classes, fix)
    if not isinstance(workload, MlpSpec):
        _check_range("features", features, classes, fix)
        return features.astype(np.int32), targets.astype(np.int32)
    if not np.isfinite(features).all():
        raise UsageError("features of --data", "NaN or infinity", "finite numbers", "clean them")
    return features.astype(np.float32), targets.astype(np.float32 if workload.binary else np.int32)


def _check_range(what: str, values: np.ndarray, classes: int, fix: str) -> None:
    low, high = values.min(), values.max()
    if low < 0 or high >= classes or not np.equal(np.mod(values, 1), 0).all():
        expected = f"whole numbers from 0 to {classes - 1}"
        raise UsageError(f"{what} of --data", f"values from {low} to {high}", expected, fix)
