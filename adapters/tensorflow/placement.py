"""What both manual placements share: tensors that hop between devices of one process."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from adapters.tensorflow.models.stamps import size_bytes
from adapters.tensorflow.models.training import Training
from suite.spec.workloads import Weights


class PlacedSession(Training):
    """Variables live where their layer is computed; a hop is a copy placed on its receiver."""

    def hop(self, tensor: tf.Tensor, source: int, destination: int) -> tf.Tensor:
        """``tensor`` on device ``destination``; its gradient takes the way back."""
        if source == destination:
            return tensor

        @tf.custom_gradient
        def move(x: tf.Tensor) -> tuple[tf.Tensor, object]:
            return self._copy(x, destination), lambda g: self._copy(g, source)

        return move(tensor)

    def _copy(self, tensor: tf.Tensor, destination: int) -> tf.Tensor:
        start = self.stamps.mark(tensor) if self.stamps.on else None
        with tf.device(self.devices[destination]):
            copy = tf.identity(tensor)
        if start is not None:
            end = self.stamps.mark(copy)
            self.stamps.add("send_recv", destination, size_bytes(copy), start, end)
        return copy

    def gather(self, held: dict[str, np.ndarray]) -> Weights:
        """Whole arrays under canonical names from what the devices hold."""
        return {name: held[name] for name in self.names}

    def gradients(self, index: int) -> Weights:
        return self.gather(dict(super().gradients(index)))

    def parameters(self) -> Weights:
        return self.gather(dict(super().parameters()))
