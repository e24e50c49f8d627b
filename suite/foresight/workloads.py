"""The suite's workloads, and users' own, as units of work."""

from __future__ import annotations

from math import prod

from suite.contract.splits.shards import shard_axes
from suite.contract.workloads.transformer import Transformer as TransformerWorkload
from suite.contract.workloads.workload import Workload
from suite.foresight.transformer import Transformer, block, embedding, head
from suite.foresight.units import Model, Product, Unit

# Of a layer with weights: elements streamed for each element of its output (bias, normalisation,
# activation, residual), elements kept for the backward pass, and operations started.
STREAMED, KEPT, LAUNCHES = 6.0, 3.0, 4.0


def model_of_workload(workload: Workload, fused_attention: bool = True) -> Model:
    """Units of a workload in forward order; what a pipeline cuts between are its own units.

    Args:
        workload: A workload of the suite or of a user.
        fused_attention: Whether the framework's attention is one kernel.

    Returns:
        A unit for each unit of the workload, and for what rides with the ends.
    """
    if isinstance(workload, TransformerWorkload) and _plain(workload):
        shape = Transformer(
            workload.blocks, workload.width, workload.heads, workload.sequence,
            workload.vocabulary, feed_forward=4.0 * workload.width,
            key_value_heads=workload.heads, fused_attention=float(fused_attention),
            split_ends=0.0,  # the suite's intra-layer split shards blocks alone
        )
        one = block(shape)
        blocks = [Unit(**{**one.__dict__, "repeats": 1.0}) for _ in range(workload.blocks)]
        return embedding(shape), *blocks, head(shape)
    units = [_unit(workload, name, number) for number, name in enumerate(workload.units())]
    return _end(workload, "first"), *units, _end(workload, "last")


def _plain(workload: TransformerWorkload) -> bool:
    """Whether blocks have the twelve squares of parameters of a plain one, and nothing beside."""
    mine = sum(prod(shape) for name, shape in workload.shapes().items()
               if name.startswith(f"{workload.block_names()[0]}."))
    return mine < 12.5 * workload.width**2 + 20 * workload.width


def _end(workload: Workload, place: str) -> Unit:
    """What rides with an end of a pipeline; its FLOPs count with the unit beside it."""
    units = set(workload.units())
    ends = workload.ends()
    held = 0.0
    for name, shape in workload.shapes().items():
        word = name.split(".")[0]
        where = ends.get(name, ends.get(word, ("first",)))
        if word not in units and where[0] == place:
            held += prod(shape)
    return Unit(place, 1.0, launches=4.0 if held else 0.0, parameters=held, place=place)


def _unit(workload: Workload, name: str, number: int) -> Unit:
    """One unit by its FLOPs and the shapes of its weights.

    All weights of a unit are applied to equally many rows, as many as give its FLOPs: positions
    of a feature map, or one row where a sample is a vector.
    """
    shapes = {key: shape for key, shape in workload.shapes().items()
              if key.split(".")[0] == name}
    weights = {key: shape for key, shape in shapes.items()
               if key.rpartition(".")[2] in ("weight", "depthwise")}
    entries = sum(prod(shape) for shape in weights.values())
    rows = workload.unit_flops()[name] / (2.0 * entries) if entries else 0.0
    split = shard_axes(workload)
    products = tuple(_product(shape, rows, key in split) for key, shape in weights.items())
    outputs = sum(rows * shape[-1] for shape in weights.values())
    units = len(workload.units())
    inside = [b for b in workload.branches() if b.row.split(".")[0] == name]
    # The last unit has no boundary behind it; what its shards sum says how large its output is.
    end = max((float(branch.leaving) for branch in inside), default=1.0)
    leaving = float(prod(workload.boundary(number + 1))) if number + 1 < units else end
    summed = sum(b.leaving for b in inside) / leaving
    return Unit(
        name, 1.0, products=products, streamed=STREAMED * outputs,
        launches=LAUNCHES * len(weights) + 2.0,
        parameters=float(sum(prod(s) for k, s in shapes.items() if k not in split)),
        parameters_split=float(sum(prod(s) for k, s in shapes.items() if k in split)),
        kept=KEPT * outputs, leaving=leaving, sums=summed,
    )


def _product(shape: tuple[int, ...], rows: float, split: bool) -> Product:
    split_by = "outer" if split else ""
    return Product(rows, float(prod(shape[:-1])), float(shape[-1]), split=split_by)
