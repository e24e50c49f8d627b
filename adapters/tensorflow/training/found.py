"""What is found in a process while it trains, for the fairness ledger: never what was asked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

TASKS = Path("/proc/self/task")
# The threads of XLA's client for the host, which it starts when it first compiles.
XLA_THREADS = "tf_XLA"
# One more bit than the ten of TF32's mantissa hold.
FINER = 1.0 + 2.0**-12
SIDE = 256
PRODUCT = re.compile(r"MatMul|BatchMatMul\w*|Conv2D\w*|DepthwiseConv2dNative\w*")


def xla_compiled(graph: Any, arguments: tuple[Any, ...], device: str) -> bool:
    """Whether XLA has compiled in this process.

    Flags such as ``TF_XLA_FLAGS=--tf_xla_auto_jit=2`` make it compile what nobody asked it to.

    Args:
        graph: The ``tf.function`` of a training step, which has run.
        arguments: What it was called with.
        device: ``cpu`` or ``cuda``. On a GPU the step's functions are looked at: XLA compiles each
            that is marked, or ends with an error.
    """
    if device == "cpu" and TASKS.exists():
        return any(_name_of(task).startswith(XLA_THREADS) for task in TASKS.iterdir())
    if tf.config.optimizer.get_jit() or "auto_jit=2" in os.environ.get("TF_XLA_FLAGS", ""):
        return True
    concrete = graph.get_concrete_function(*arguments)
    inner = concrete.graph.as_graph_def().library.function
    marked = [concrete.function_def.attr, *(one.attr for one in inner)]
    return any(attributes["_XlaMustCompile"].b for attributes in marked)


def _name_of(task: Path) -> str:
    with suppress(OSError):  # a thread that has just ended
        return (task / "comm").read_text(encoding="utf-8")
    return ""


def number_format(
    variables: Iterable[tf.Variable], asked: str, tf32: bool, graph: Any, arguments: tuple[Any, ...]
) -> str:
    """Returns the number format in which a step computes.

    Args:
        variables: The parameters.
        asked: The case's format; what lowers products alone is looked for only where it is asked.
        tf32: Whether float32 products were found to be rounded to TF32.
        graph: The ``tf.function`` of a training step, which has run.
        arguments: What it was called with.

    Returns:
        ``float32``, ``tf32``, ``bf16``, ``float64``, or several names joined by ``and``.
    """
    kinds = {variable.dtype.name for variable in variables}
    if asked == "bf16" and product_types(graph, arguments) == {"bfloat16"}:
        return "bf16"
    if asked == "tf32" and tf32 and kinds == {"float32"}:
        return "tf32"
    return " and ".join(sorted(kinds))


def product_types(graph: Any, arguments: tuple[Any, ...]) -> set[str]:
    """Returns the types in which a graph multiplies matrices and convolves.

    Args:
        graph: The ``tf.function`` of a training step, which has run.
        arguments: What it was called with.
    """
    definition = graph.get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return {tf.as_dtype(node.attr["T"].type).name for node in nodes if PRODUCT.fullmatch(node.op)}


def onednn_is_on() -> bool:
    """Whether TensorFlow computes with oneDNN's kernels; its own answer, not a variable."""
    return bool(_pywrap_util_port.IsMklEnabled())


def tf32_products(device: str) -> bool:
    """Whether float32 products on a GPU such as ``/GPU:0`` round their factors to TF32.

    ``NVIDIA_TF32_OVERRIDE`` overrules TensorFlow's switch, so a product is looked at: the identity
    leaves a matrix as it is unless its entries are rounded first.
    """
    with tf.device(device):
        finer = tf.fill((SIDE, SIDE), tf.constant(FINER, tf.float32))
        rounded = bool(tf.reduce_any(finer @ tf.eye(SIDE) != finer))
    return rounded or tf.config.experimental.tensor_float_32_execution_enabled()
