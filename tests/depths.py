"""Workloads of other depths than the suite's own, by ``tests.depths:<family>`` and size.

``shallow`` transformers have units for two stages: a graph of half the size, which TensorFlow
traces and torch.compile translates in half the time; a ``single`` one has one block. ``deep`` ones
have units for two stages on each of four devices, ``eight`` a unit and a head on each of eight,
``sixteen`` two units; TensorFlow traces the deep MLP in a tenth of the time. Of the ``heavy`` one
parameters, gradients and moments are nearly all that a process holds. The ``long`` one has so many
layers of equal size that a pipeline can be cut nearly anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from suite.contract.workloads import find_workload
from suite.contract.workloads.mlp import MlpSpec


def _shallow(family: str) -> Any:
    tiny: Any = find_workload(family, "tiny")
    return replace(tiny, size="shallow", blocks=2)


BERT, XLNET = _shallow("bert"), _shallow("xlnet")
GPT = [_shallow("gpt"), replace(_shallow("gpt"), size="single", blocks=1),
       replace(_shallow("gpt"), size="deep", blocks=8),
       replace(_shallow("gpt"), size="eight", blocks=8, heads=8),
       replace(_shallow("gpt"), size="sixteen", blocks=16, heads=8)]
MLP = [MlpSpec("deep", (64, *[64] * 7, 10), "digits", 64, "gelu"),
       MlpSpec("heavy", (64, *[2048] * 4, 10), "digits", 32, "gelu"),
       MlpSpec("long", (64, *[512] * 25, 10), "digits", 256, "gelu")]


def case_fields(workload: str) -> tuple[str, str]:
    """``gpt/deep`` -> ``("tests.depths:GPT", "deep")``; a suite's own name is of size ``tiny``."""
    family, _, size = workload.partition("/")
    return (f"tests.depths:{family.upper()}", size) if size else (family, "tiny")
