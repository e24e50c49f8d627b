"""Finds the adapters and their traits; a broken adapter gives a reason and never an exception."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from suite.contract.errors import UsageError
from suite.contract.plugins import ADAPTERS, adapter_package, named
from suite.contract.traits import Traits

# The functions that the module of an adapter needs beside its traits.
FUNCTIONS = ("unsupported_reason", "installation_problem", "launch_plan")
UNKNOWN = Traits(engines=("unknown",), distributions=(), collectives={})


@dataclass(frozen=True)
class Adapter:
    """An adapter that was found.

    Attributes:
        framework: Its name.
        module: Its manifest; None if it cannot be loaded.
        problem: Why it cannot be loaded; empty if it can.
    """

    framework: str
    module: ModuleType | None
    problem: str = ""

    @property
    def traits(self) -> Traits:
        """Its traits; for an adapter that cannot be loaded, traits without any property."""
        return UNKNOWN if self.module is None else self.module.TRAITS


@cache
def load(framework: str) -> Adapter:
    """Imports an adapter's manifest, which imports no framework, and checks it, once."""
    try:
        module = importlib.import_module(adapter_package(framework))
    except (Exception, SystemExit) as error:  # a third party may raise anything
        return Adapter(framework, None, f"cannot be loaded: {type(error).__name__}: {error}")
    problem = _problem(module)
    return Adapter(framework, None if problem else module, problem)


def _problem(module: ModuleType) -> str:
    traits = getattr(module, "TRAITS", None)
    if not isinstance(traits, Traits):
        return (f"cannot be loaded: {module.__name__}.TRAITS is {type(traits).__name__}, expected "
                "suite.contract.traits.Traits")
    missing = [name for name in FUNCTIONS if not callable(getattr(module, name, None))]
    if missing:
        return f"cannot be loaded: {module.__name__} has no function {', '.join(missing)}"
    wrong = traits.problem()
    return f"cannot be loaded: {wrong}" if wrong else ""


@cache
def own() -> tuple[str, ...]:
    """Returns the frameworks of the project's own adapters in their order, the default matrix."""
    spec = find_spec("adapters")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    names = [module.name for module in pkgutil.iter_modules(folders) if module.ispkg]
    return tuple(sorted(names, key=lambda name: (load(name).traits.order, name)))


def adapters() -> Mapping[str, Adapter]:
    """Returns all adapters by framework: the project's own, then those of other packages."""
    names = dict.fromkeys([*own(), *sorted(named(ADAPTERS))])
    return {name: load(name) for name in names}


def engines() -> dict[str, tuple[str, ...]]:
    """Returns the engines of every framework whose adapter can be loaded."""
    return {name: adapter.traits.engines for name, adapter in adapters().items()
            if not adapter.problem}


def engines_named(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the engines that were asked for, by framework; all of them if nothing was.

    Args:
        names: Frameworks, with ``/engine`` where one engine alone is meant.

    Raises:
        UsageError: A name is no framework, or its engine is none of that framework.
    """
    offered, found = engines(), dict[str, tuple[str, ...]]()
    for name in names or list(offered):
        framework, _, engine = name.partition("/")
        mine = offered.get(framework, ())
        if engine not in ("", *mine) or not mine:
            known = [label(one, each) for one, all_of in offered.items() for each in all_of]
            raise UsageError("--framework", name, f"one of {', '.join(known)}", "pick one of these")
        found[framework] = (*found.get(framework, ()), *((engine,) if engine else mine))
    return found


def traits_of(framework: str) -> Traits:
    """Returns the traits of a framework; ``UNKNOWN`` if its adapter is not installed here."""
    return load(framework).traits


def label(framework: str, engine: str) -> str:
    """Returns what readers call a framework's engine: ``pytorch``, ``horovod/torch``."""
    return framework if traits_of(framework).engines == (engine,) else f"{framework}/{engine}"


def forget() -> None:
    """Forgets all adapters that were loaded, for tests that plant others."""
    for cached in (load, own, named):
        cached.cache_clear()
