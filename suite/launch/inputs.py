"""Provides real data without a network: scikit-learn's, and the standard library's source code."""

from __future__ import annotations

import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from suite.contract.errors import UsageError, worded
from suite.contract.formats import size_bytes
from suite.contract.workloads import Workload
from suite.contract.workloads.workload import Arrays, Field
from suite.machine.memory import available_bytes

CORPUS_BYTES, MAXIMUM_BATCHES = 4_000_000, 16
SYNTHETIC_BATCHES = IMAGE_BATCHES = 4
FIX = "correct it; a file is saved with numpy.savez(path, features=..., targets=...)"


def load_data(workload: Workload, source: str, seed: int) -> Arrays:
    """Returns features and targets, shuffled with ``seed``, for at least one global batch.

    Args:
        workload: The workload, whose shapes the data must have.
        source: ``real``, ``synthetic``, or the path of an ``.npz`` file with the arrays
            ``features`` and ``targets``, each of shape ``(samples, …)``.
        seed: The seed of the shuffling and of synthetic data.

    Raises:
        UsageError: If a user's file does not fit the workload.
    """
    generator = np.random.default_rng([seed, 2])
    features, targets = _source(workload, source, generator)
    repeats = -(-workload.global_batch // len(features))
    if repeats > 1:
        features, targets = (np.concatenate([part] * repeats) for part in (features, targets))
    order = generator.permutation(len(features))[: MAXIMUM_BATCHES * workload.global_batch]
    return np.ascontiguousarray(features[order]), np.ascontiguousarray(targets[order])


def batches_of(workload: Workload, source: str) -> int:
    """Returns how many global batches :func:`load_data` makes at least, whatever their size."""
    if source == "synthetic":
        return SYNTHETIC_BATCHES
    return IMAGE_BATCHES if (source, workload.dataset) == ("real", "photographs") else 1


def _source(workload: Workload, source: str, generator: np.random.Generator) -> Arrays:
    if source == "synthetic":
        return _synthetic(workload, SYNTHETIC_BATCHES * workload.global_batch, generator)
    if source != "real":
        return _file(workload, Path(source))
    own = workload.real_data(generator)
    if own:
        return _checked(f"real_data() of {workload.name}", workload, *own)
    if workload.dataset not in REAL:
        fix = "use --data synthetic or a file, or write the workload's real_data()"
        raise UsageError("data set", workload.dataset, f"one of {', '.join(REAL)}", fix)
    return REAL[workload.dataset](workload, generator)


def _table(workload: Workload, generator: np.random.Generator) -> Arrays:
    from sklearn import datasets

    loaders = {"breast-cancer": datasets.load_breast_cancer, "digits": datasets.load_digits}
    features, targets = loaders[workload.dataset](return_X_y=True)
    scale = features.std(0)
    features = (features - features.mean(0)) / np.where(scale == 0, 1, scale)
    return features.astype(np.float32), targets.astype(workload.targets.dtype)


def _bytes(workload: Workload, generator: np.random.Generator) -> Arrays:
    """Returns the source code of the standard library, in which each byte is a token."""
    library = Path(sysconfig.get_paths()["stdlib"])
    text = b""
    for path in sorted(library.glob("*.py")):
        text += path.read_bytes()
        if len(text) >= CORPUS_BYTES:
            break
    return workload.examples(np.frombuffer(text, np.uint8).astype(np.int32), generator)


def _photographs(workload: Workload, generator: np.random.Generator) -> Arrays:
    """Returns squares cut out of scikit-learn's two photographs.

    The class of a square says which photograph it is from, and from where: all places of both
    photographs, in reading order, are divided evenly into the classes.
    """
    from sklearn.datasets import load_sample_images

    pictures = np.stack(load_sample_images().images).astype(np.float32)
    pictures = (pictures - pictures.mean((0, 1, 2))) / pictures.std((0, 1, 2))
    side = workload.features.shape[0]
    rows, columns = (size - side + 1 for size in pictures.shape[1:3])
    if min(rows, columns) < 1:
        fix = "use --data synthetic or a file"
        raise UsageError("image of the workload", side, f"at most {len(pictures[0])} pixels", fix)
    places = len(pictures) * rows * columns
    chosen = generator.integers(0, places, IMAGE_BATCHES * workload.global_batch)
    where = zip(*np.unravel_index(chosen, (len(pictures), rows, columns)), strict=True)
    images = np.stack([pictures[p, y : y + side, x : x + side] for p, y, x in where])
    return images, (chosen * workload.targets.classes // places).astype(workload.targets.dtype)


REAL: dict[str, Callable[[Workload, np.random.Generator], Arrays]] = {
    "breast-cancer": _table, "digits": _table, "stdlib-bytes": _bytes,
    "photographs": _photographs,
}


def _synthetic(workload: Workload, samples: int, generator: np.random.Generator) -> Arrays:
    if workload.tokens_per_sample:
        # Takes one token more than a row has, because each token's target is the next token.
        count = samples * workload.tokens_per_sample + 1
        tokens = generator.integers(0, workload.features.classes, count)
        return workload.examples(tokens.astype(np.int32), generator)
    features = _random(workload.features, samples, generator)
    return features, _random(workload.targets, samples, generator)


def _random(field: Field, samples: int, generator: np.random.Generator) -> np.ndarray:
    shape = (samples, *field.shape)
    if field.classes:
        return generator.integers(field.lowest, field.classes, shape).astype(field.dtype)
    return generator.standard_normal(shape).astype(field.dtype)


def _file(workload: Workload, path: Path) -> Arrays:
    if not path.is_file():
        raise UsageError("--data", str(path), "real, synthetic or an existing .npz file", FIX)
    _refuse_huge(path)
    try:
        with np.load(path) as arrays:
            features, targets = arrays["features"], arrays["targets"]
    # NumPy, zipfile and the parser of its headers raise a dozen types, none of which says more.
    except Exception as error:
        expected = f"arrays features and targets ({worded(error)})"
        raise UsageError("--data", str(path), expected, FIX) from error
    return _checked("--data", workload, features, targets)


def _refuse_huge(path: Path) -> None:
    """Refuses arrays that do not fit into memory; a small archive may hold arrays of any size.

    Raises:
        UsageError: Together they do not fit in the memory that is free.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return  # what reads it next says what is wrong
    if held > (free := available_bytes()):
        expected = f"arrays of at most {size_bytes(free)}, which is the free memory"
        got = f"{path} with {size_bytes(held)}"
        raise UsageError("--data", got, expected, "take fewer samples")


def _checked(
    origin: str, workload: Workload, features: np.ndarray, targets: np.ndarray
) -> Arrays:
    """Returns both arrays in the types of the workload; raises an error if they do not fit it."""
    if not features.ndim or not targets.ndim:
        raise UsageError(origin, "a single number", "samples along the first axis", FIX)
    if not len(features) or len(features) != len(targets):
        got = f"{len(features)} features, {len(targets)} targets"
        raise UsageError(origin, got, "as many targets as features, at least one", FIX)
    return (
        _fitting(f"features of {origin}", features, workload.features),
        _fitting(f"targets of {origin}", targets, workload.targets),
    )


def _fitting(what: str, values: np.ndarray, field: Field) -> np.ndarray:
    if values.shape[1:] != field.shape:
        shape = f"(samples, {', '.join(map(str, field.shape))})" if field.shape else "(samples,)"
        raise UsageError(what, values.shape, shape, FIX)
    if values.dtype.kind not in "biuf":
        raise UsageError(what, f"the type {values.dtype}", "numbers", FIX)
    if not np.isfinite(values).all():
        raise UsageError(what, "NaN or infinity", "finite numbers", "clean them")
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" and max(abs(low), abs(high)) > np.finfo(np.float32).max:
        raise UsageError(what, f"values from {low} to {high}", "numbers that float32 holds", FIX)
    outside = low < field.lowest or high >= field.classes
    if field.classes and (outside or not np.equal(np.mod(values, 1), 0).all()):
        expected = f"whole numbers from {field.lowest} to {field.classes - 1}"
        raise UsageError(what, f"values from {low} to {high}", expected, FIX)
    return values.astype(field.dtype)
