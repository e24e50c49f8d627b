"""What an adapter says about itself, so that no code has to compare its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PROCESSES: Literal["processes"] = "processes"
LOGICAL_DEVICES: Literal["logical_devices"] = "logical_devices"


@dataclass(frozen=True)
class Traits:
    """The properties of an adapter that harness, analysis and reports depend on.

    Attributes:
        engines: Names of what computes, in the order of the table. One engine means that rows are
            called by the framework's name alone; with several each is ``framework/engine``.
        distributions: Installed distributions that mean "the framework is here": any of them.
        recorded: Distributions whose versions ``run.json`` records.
        order: Place of the adapter among others: in tables, and when a reference is chosen.
        dtypes: Number formats in which it trains.
        variants: Axis of a mesh -> variants of it that the adapter trains; ``""`` is the plain one.
            An axis that is not named here has its first variant alone. What is not offered is
            refused: an adapter would train it as something else without a word.
        placement: ``processes`` if each device has a process of its own; ``logical_devices`` if
            one process drives all devices, so that intra-layer and inter-layer exchanges are
            copies between devices and tied parameters exist once.
        hop: The collective that carries an activation from one pipeline stage to the next.
        low_activations: 16-bit formats in which activations and their gradients can travel. In
            others they are sent as float32.
        collectives: Strategy, or ``strategy/variant`` -> the collectives that it calls, which a
            run's short link sweep measures.
        unswept: Collective -> why ``link.py`` does not offer it.
        unswept_across: The same of devices on several hosts, besides ``unswept``.
        references: Engines whose single device can compute the float64 reference of a proof.
        environment: Variables that every worker of the adapter gets.
        preloaded: Engine -> modules that every rank of it imports, whatever its case. A harness may
            import them once and fork ranks from there; an engine that is not named has new
            processes for its ranks. Importing them must start no thread.
        late: Variables that a rank reads only after that, when it opens its session; a name that
            ends in ``*`` stands for all names that begin so.
        networks: Kind of device -> networks between hosts that ``--transport`` can ask for.
        gradient_bucket_bytes: Bytes of gradients after which ``data`` starts another communication;
            0 if something else ends one, such as what is ready when the library looks.
        cuts: Whether its pipelines take stages of a given number of units (``case.cut``).
        passed: Variables of the user that reach its workers besides the harness's own allow-list;
            a name that ends in ``*`` stands for all names that begin so.
    """

    engines: tuple[str, ...]
    distributions: tuple[str, ...]
    collectives: Mapping[str, tuple[str, ...]]
    recorded: tuple[str, ...] = ()
    order: int = 100
    dtypes: tuple[str, ...] = ("float32",)
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    placement: Literal["processes", "logical_devices"] = PROCESSES
    hop: str = "send_recv"
    low_activations: tuple[str, ...] = ()
    unswept: Mapping[str, str] = field(default_factory=dict)
    unswept_across: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    gradient_bucket_bytes: int = 0
    cuts: bool = False
    preloaded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    late: tuple[str, ...] = ()

    def collectives_of(self, axis: str, variant: str = "") -> tuple[str, ...]:
        """Returns the collectives that the adapter names for an axis; empty if it names none."""
        own = self.collectives.get(f"{axis}/{variant}")
        return self.collectives.get(axis, ()) if own is None else own

    def not_swept(self, hosts: int) -> Mapping[str, str]:
        """Returns the collectives that ``link.py`` does not offer on so many hosts, and why."""
        return {**self.unswept, **(self.unswept_across if hosts > 1 else {})}

    def problem(self) -> str:
        """Returns what is wrong with these traits, in words; empty if nothing is."""
        if not self.engines or not all(isinstance(name, str) and name for name in self.engines):
            return f"traits.engines is {self.engines!r}, expected one name or more"
        if self.placement not in (PROCESSES, LOGICAL_DEVICES):
            return (f"traits.placement is {self.placement!r}, expected {PROCESSES} or "
                    f"{LOGICAL_DEVICES}")
        unknown = set(self.references) - set(self.engines)
        if unknown:
            return (f"traits.references names {', '.join(sorted(unknown))}, which is none of its "
                    "engines")
        return ""
