"""The matrix-product rate of a device: the peak that MFU divides by."""

from __future__ import annotations

import time
from collections.abc import Callable

import tensorflow as tf

# Rows and columns of the matrices, products per round, and rounds.
MATRIX, PRODUCTS, ROUNDS = {"CPU": 768, "GPU": 8192}, {"CPU": 1, "GPU": 4}, 5


def matmul_flops_s(
    device: str, synchronize: Callable[[], None], kind: tf.DType = tf.float32
) -> float:
    """Measures how fast a device multiplies square matrices.

    Args:
        device: Name of the device, such as ``/CPU:0``.
        synchronize: Waits until the device has finished its work.
        kind: Type of the matrices; float32 is multiplied as TF32 where that is on.

    Returns:
        FLOP/s of the fastest round; a round to warm up does not count.
    """
    where = tf.DeviceSpec.from_string(device).device_type
    size, products = MATRIX[where], PRODUCTS[where]
    with tf.device(device):
        a = tf.cast(tf.random.normal((size, size)), kind)
        seconds = []
        for _ in range(ROUNDS + 1):
            synchronize()
            began = time.perf_counter()
            for _ in range(products):
                tf.linalg.matmul(a, a)
            synchronize()
            seconds.append(time.perf_counter() - began)
    return 2.0 * size**3 * products / min(seconds[1:])
