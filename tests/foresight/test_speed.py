"""Ten thousand configurations are answered at once, and no framework is imported for it."""

from __future__ import annotations

import subprocess
import sys

COUNT, SECONDS = 10_000, 2.0
HEAD = """
import sys, time
def done(count):
    heavy = {'torch', 'tensorflow', 'horovod', 'keras'} & set(sys.modules)
    assert not heavy, heavy
    print(count, time.process_time())
"""
PREDICT = f"""
from suite.foresight.enumerate import example_plans
from suite.foresight.predict import predict
model, plans, stack = example_plans({COUNT})
done(len(predict(model, plans, stack).step_s))
"""
ADVISE = f"""
from itertools import cycle, islice
from suite.contract.workloads import sized_workload
from suite.foresight.advice import advise
from suite.foresight.question import Wish, answer, asked_plans, named_device
workload = sized_workload('gpt', 'gpt3-xl', 1536)
wish = Wish(64, recomputes=('none', 'full'), shardings=('none', 'states', 'all'))
plans = list(islice(cycle(asked_plans(workload, wish)), {COUNT}))
advise(answer(workload, plans, named_device('A100 SXM 80GB', 'auto', 8, None)))
done(len(plans))
"""


def _processor_seconds(code: str) -> float:
    """Of a process of its own, imports included; wall time would count other programs too."""
    ran = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    count, seconds = ran.stdout.split()
    assert int(count) == COUNT
    return float(seconds)


def test_ten_thousand_configurations_are_predicted_in_two_seconds() -> None:
    assert _processor_seconds(PREDICT) < SECONDS


def test_ten_thousand_configurations_are_advised_on_in_two_seconds() -> None:
    assert _processor_seconds(ADVISE) < SECONDS
