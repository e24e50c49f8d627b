"""Opens TensorFlow (engine ``tensorflow``) or Horovod on it (engine ``horovod``) and plants.

A rank of Horovod is planted around its step. TensorFlow's devices share one process and one graph,
so there the plant is a part of every graph, on the path of its device.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf
from adapters.cycled import lengthen_cycle
from adapters.slowed import Slowed, slow_graph

from adapters.tensorflow.training.single import Training
from suite.contract.adapter import Inputs, Session
from suite.contract.case import Case, Rank
from suite.contract.workloads import Weights


def open_session(case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session:
    kind, _, rest = os.environ.get("PLANT", "").partition(":")
    if kind == "cycle":
        lengthen_cycle(rest)
        kind = ""
    number, _, amount = rest.partition(":")
    real = replace(case, framework=case.engine, engine="tensorflow")
    if kind == "slow":
        from importlib import import_module

        opened_by = import_module(f"adapters.{case.engine}.session").open_session
        slowed = opened_by(real, rank, weights, inputs)
        slow_graph(slowed, Slowed(rest, rank.index))
        return slowed
    if case.engine == "horovod":
        from adapters.horovod.session import open_session as opened

        session = _metered(opened(real, rank, weights, inputs))
        if kind and int(number) == rank.index:
            _before_each_step(session, _RANK_PLANTS[kind](session, amount))
        return session
    from adapters.tensorflow.session import open_session as opened_in_process

    session = _metered(opened_in_process(real, rank, weights, inputs))
    if kind:
        _GRAPH_PLANTS[kind](session, int(number), amount)
    return session


def _metered(session: Any) -> Any:
    """Adds the median CPU seconds of a clean and of a silent step to the ledger."""
    seconds = session.clock.seconds if hasattr(session, "clock") else time.process_time
    spent: dict[str, list[float]] = {}

    def meter(name: str) -> None:
        call = getattr(session, name)

        def metered(index: int) -> Any:
            before = seconds()
            result = call(index)
            spent.setdefault(f"{name}_cpu_s", []).append(seconds() - before)
            return result

        setattr(session, name, metered)

    meter("step")
    meter("silent_step")
    describe = session.describe
    session.describe = lambda: describe() | {
        name: str(statistics.median(found)) for name, found in spent.items()
    }
    return session


def _before_each_step(session: Any, plant: Callable[[int], None]) -> None:
    step, run = session.step, session.run

    def planted_step(index: int) -> Any:
        plant(index)
        return step(index)

    def planted_run(graph: Any, index: int) -> None:
        plant(index)
        run(graph, index)

    session.step, session.run = planted_step, planted_run


def _sleeping(session: Any, amount: str) -> Callable[[int], None]:
    return lambda index: time.sleep(float(amount) * (index % 2))


def _spinning(session: Any, amount: str) -> Callable[[int], None]:
    return lambda index: _spin(float(amount))


def _spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def _delay(session: Any, device: int, amount: str) -> None:
    """The features of ``device`` come late: of a replica, or of the first device."""
    begun = [0]
    _before_each_step(session, lambda index: begun.append(index))

    def late(features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        def wait(array: Any) -> Any:
            time.sleep(float(amount) * (begun[-1] % 2))
            return array

        slept = tf.numpy_function(wait, [features], features.dtype, stateful=False)
        slept.set_shape(features.shape)
        return slept

    _replace_features(session, device, late)


def _work(session: Any, device: int, amount: str) -> None:
    original, update = Training.loss_and_gradients, _Update(session, device, session.variables)

    def after_extra(features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Other features, or the optimiser would compute both once."""
        _, extra = original(session, features * 1.0001, targets)
        update(extra)
        return _after(features, list(extra.values()))

    _replace_features(session, device, after_extra)


def _replace_features(session: Any, device: int, change: Callable[..., tf.Tensor]) -> None:
    """In the part of the step that ``device`` computes."""
    replicated = session.case.strategy == "data"
    owner = Training if replicated else type(session)
    name = "loss_and_gradients" if replicated else "batch_gradients"
    original = getattr(owner, name)

    def planted(self: Any, features: tf.Tensor, targets: tf.Tensor) -> Any:
        context = tf.distribute.get_replica_context()
        here = context.replica_id_in_sync_group if replicated else 0
        if int(tf.get_static_value(here)) == device:
            with self.compute_device():
                if isinstance(features, list):  # placed by hand, the first device's is the first
                    features = [change(features[0], targets), *features[1:]]
                else:
                    features = change(features, targets)
        return original(self, features, targets)

    setattr(owner, name, planted)


class _Update:
    """The optimiser's kernel once more, on variables that nobody else has."""

    def __init__(self, session: Any, device: int, like: dict[str, Any]) -> None:
        with tf.device(session.devices[device]):
            self.held = {
                name: [tf.Variable(tf.zeros(value.shape), trainable=False) for _ in range(3)]
                for name, value in like.items()
            }

    def __call__(self, gradients: dict[str, tf.Tensor]) -> None:
        for name, gradient in gradients.items():
            variable, m, v = self.held[name]
            with tf.device(variable.device):
                tf.raw_ops.ResourceApplyAdam(
                    var=variable.handle, m=m.handle, v=v.handle, beta1_power=0.9, beta2_power=0.99,
                    lr=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, grad=gradient,
                )


def _after(tensor: tf.Tensor, others: list[tf.Tensor]) -> tf.Tensor:
    """``tensor`` once ``others`` are computed.

    TensorFlow drops what has control dependents alone; a value this small is lost in the sum.
    """
    return tensor + 1e-30 * tf.add_n([tf.reshape(other, (-1,))[0] for other in others])


_RANK_PLANTS = {"delay": _sleeping, "spin": _spinning}
_GRAPH_PLANTS = {"delay": _delay, "work": _work}
