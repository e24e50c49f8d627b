"""All-reduces inside of a compiled model: a graph of its own for each pass of the measurement.

A compiled graph holds its collectives, so no function of Python can be replaced while it runs. What
is replaced instead is the function that DTensor calls while a graph is traced. The clean graph
keeps PyTorch's own functional collectives; in a timed step a second graph runs, whose all-reduces
are an operator that marks their beginning and end; in a silent step a third one, which has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch._inductor.compile_fx import compile_fx

# Marks an all-reduce: is called with its payload, and runs the collective that it is given.
Mark = Callable[[torch.Tensor, Callable[[], object]], None]
_marks: dict[str, Mark] = {}


@torch.library.custom_op("suite::marked_all_reduce", mutates_args=())
def marked_all_reduce(tensor: torch.Tensor, group: str) -> torch.Tensor:
    """Adds a tensor up over a group and waits, as the mark of that group sees it.

    Args:
        tensor: This rank's summand, of any shape.
        group: The name of the process group.

    Returns:
        The sum, in new memory, as of PyTorch's functional collective.
    """
    total = tensor.clone()
    _marks[group](total, lambda: dist.all_reduce(total, group=_group(group)))
    return total


@marked_all_reduce.register_fake
def _shape(tensor: torch.Tensor, group: str) -> torch.Tensor:
    return torch.empty_like(tensor)


def _group(name: str) -> dist.ProcessGroup:
    return dist.distributed_c10d._resolve_process_group(name)


class CompiledPasses:
    """The graphs of a model beside its clean one, each traced when it runs first.

    Args:
        model: The model, compiled in place.
        group: The process group of its all-reduces.
    """

    def __init__(self, model: nn.Module, group: dist.ProcessGroup) -> None:
        self._model, self._name = model, group.group_name
        self._graphs: dict[str, Any] = {}

    def marked(self, tensor: torch.Tensor, *_arguments: Any, **_named: Any) -> torch.Tensor:
        """Stands for PyTorch's functional all-reduce while the graph of timed steps is traced."""
        return marked_all_reduce(tensor, self._name)

    @contextmanager
    def through(self, name: str, mark: Mark | None = None) -> Iterator[None]:
        """Lets the model run through a graph of its own.

        Args:
            name: Of the graph. Compiled code is found by its backend, so each graph has one.
            mark: Sees the marked all-reduces.
        """
        if name not in self._graphs:
            def backend(module: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
                return compile_fx(module, inputs)

            self._graphs[name] = torch.compile(self._model._call_impl, backend=backend)
        clean, self._model._compiled_call_impl = (
            self._model._compiled_call_impl, self._graphs[name])
        if mark:
            _marks[self._name] = mark
        try:
            yield
        finally:
            self._model._compiled_call_impl = clean
            _marks.pop(self._name, None)
