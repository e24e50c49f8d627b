"""``python -m tests.busy_harness``: the command line with true work in NumPy as its one framework.

``BUSY_EXTRA=4`` in the environment makes every step 10 % longer.
"""

from __future__ import annotations

from dataclasses import replace

from suite.cli import app
from suite.contract import registry
from suite.contract.manifests import manifest
from suite.measure import runner
from tests.synthetic import Still

# Its other engines are for those who look for a difference between rows.
busy = manifest("busy")
busy.TRAITS = replace(busy.TRAITS, engines=("plain",))  # type: ignore[misc]
registry.own = lambda: ("busy",)  # type: ignore[assignment]
runner.Calibration = lambda cores: Still()  # type: ignore[assignment,misc]

if __name__ == "__main__":
    app.main()
