"""A device's float32 matrix-product rate: what MFU is a share of."""

from __future__ import annotations

import time
from collections.abc import Callable

import tensorflow as tf

MATRIX, PRODUCTS, ROUNDS = {"CPU": 768, "GPU": 8192}, {"CPU": 1, "GPU": 4}, 5


def matmul_flops_s(device: str, synchronize: Callable[[], None]) -> float:
    """FLOP/s of square products on ``device``; the fastest round counts, after one to warm up."""
    kind = tf.DeviceSpec.from_string(device).device_type
    size, products = MATRIX[kind], PRODUCTS[kind]
    with tf.device(device):
        a = tf.random.normal((size, size))
        seconds = []
        for _ in range(ROUNDS + 1):
            synchronize()
            began = time.perf_counter()
            for _ in range(products):
                tf.linalg.matmul(a, a)
            synchronize()
            seconds.append(time.perf_counter() - began)
    return 2.0 * size**3 * products / min(seconds[1:])
