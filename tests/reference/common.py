"""What the plain scripts share: sizes, one batch, and how a step is reported."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits, load_sample_images
from sklearn.preprocessing import StandardScaler

WIDTHS = (64, 1024, 1024, 1024, 1024, 10)  # of the MLP
SEQUENCE, WIDTH, HEADS = 128, 256, 8  # of the transformers
VOCABULARY = {"gpt": 256, "bert": 257, "xlnet": 256}
MASK = 256  # BERT's token for what it has to predict
PREDICTED = {"bert": 19, "xlnet": 21}  # positions of a sample
SIDE, CLASSES = 64, 10  # of the images
BATCH = {"mlp": 128, "gpt": 8, "bert": 8, "xlnet": 8, "resnet": 16, "efficientnet": 16}
RATE = {
    "mlp": 1e-3, "gpt": 3e-4, "bert": 1e-4, "xlnet": 1e-4, "resnet": 3e-5, "efficientnet": 1e-3
}
BLOCKS = {"gpt": 4, "bert": 4, "xlnet": 4, "resnet": 4, "efficientnet": 16}
# The second stage's first layer, behind an embedding or a stem and half of the work.
CUT = {"mlp": 1, "gpt": 3, "bert": 3, "xlnet": 3, "resnet": 3, "efficientnet": 11}
# Tan & Le 2019, table 1: how much wider inside, kernel, stride, channels, layers.
EFFICIENTNET = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)
PARTS = 4  # micro-batches of a pipeline
WARMUP, STEPS = 20, 20


def inverted_bottlenecks(entering: int) -> list[tuple[int, int, int, int, int]]:
    """Channels that enter and leave each of EfficientNet's blocks, ratio, kernel and stride."""
    found = []
    for ratio, kernel, stride, leaving, layers in EFFICIENTNET:
        for layer in range(layers):
            found.append((entering, leaving, ratio, kernel, 1 if layer else stride))
            entering = leaving
    return found[: BLOCKS["efficientnet"]]


def batch(workload: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets, float32 and int32.

    Digits (batch, 64) and photographs (batch, side, side, 3) with a class each; bytes of source
    code (batch, sequence) with the next ones, or with those to predict where the others have -1.
    """
    size = BATCH[workload]
    if workload == "mlp":
        x, y = load_digits(return_X_y=True)
        return StandardScaler().fit_transform(x)[:size].astype(np.float32), y[:size].astype("int32")
    if workload in ("resnet", "efficientnet"):
        return _photographs(size)
    text = np.frombuffer(Path(argparse.__file__).read_bytes(), np.uint8).astype(np.int32)
    x, y = (text[start : start + size * SEQUENCE].reshape(size, SEQUENCE) for start in (0, 1))
    return (x, y) if workload == "gpt" else _predicted(workload, x)


def _photographs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares of scikit-learn's two; the class says from where."""
    pictures = np.stack(load_sample_images().images).astype(np.float32)
    pictures = (pictures - pictures.mean((0, 1, 2))) / pictures.std((0, 1, 2))
    squares = np.lib.stride_tricks.sliding_window_view(pictures, (SIDE, SIDE), (1, 2))
    places = squares.shape[:3]
    chosen = np.random.default_rng(0).integers(0, np.prod(places), size)
    images = squares[np.unravel_index(chosen, places)].transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), (chosen * CLASSES // np.prod(places)).astype(np.int32)


def _predicted(workload: str, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """BERT's tokens, 80 % of the predicted ones masked and 10 % random; XLNet's and their order."""
    generator, count = np.random.default_rng(0), PREDICTED[workload]
    places = np.argsort(generator.random(tokens.shape), axis=1)[:, :count]
    true = np.take_along_axis(tokens, places, 1)
    targets = np.full_like(tokens, -1)
    np.put_along_axis(targets, places, true, 1)
    if workload == "xlnet":
        order = np.zeros_like(tokens)
        np.put_along_axis(order, places, np.arange(1, count + 1, dtype=np.int32), 1)
        return np.stack([tokens, order], 1), targets
    draw, shown = generator.random(places.shape), tokens.copy()
    noise = generator.integers(0, MASK, places.shape, np.int32)
    np.put_along_axis(
        shown, places, np.where(draw < 0.8, MASK, np.where(draw < 0.9, noise, true)), 1
    )
    return shown, targets


def report(build: Callable[..., Callable[[], object]]) -> None:
    """Prints the median step of a script run by itself, of the workload named behind it or mlp."""
    step = build(*sys.argv[1:2])
    seconds = []
    for _ in range(WARMUP + STEPS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    print(f"{statistics.median(seconds[WARMUP:]) * 1e3:.2f} ms", flush=True)
