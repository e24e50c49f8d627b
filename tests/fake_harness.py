"""``python -m tests.fake_harness``: the command line with the fake adapter as its one framework.

Real processes and the real runner; only the machine's calibration is left out.
"""

from __future__ import annotations

from suite.cli import app
from suite.contract import registry
from suite.measure import runner
from tests.synthetic import Still

registry.own = lambda: ("fake",)  # type: ignore[assignment]
runner.Calibration = lambda cores: Still()  # type: ignore[assignment,misc]

if __name__ == "__main__":
    app.main()
