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

REHEARSED = f"""
from dataclasses import replace
from itertools import cycle, islice
from suite.contract.workloads import sized_workload
from suite.foresight.advice import advise
from suite.foresight.correction import rehearsed_ways
from suite.foresight.plans import Plan
from suite.foresight.question import Wish, answer, asked_plans, named_device
from suite.foresight.rehearsal import Calls, Rehearsal
from suite.foresight.workloads import model_of_workload
workload = sized_workload('gpt', 'gpt3-xl', 1536)
model = model_of_workload(sized_workload('gpt', 'gpt3-xl', 8, 4))
calls = Calls(1e-2, 1e-3, 1e-10, 5e-3)
ways = [Plan(micro_batch=8), Plan(replicas=2, micro_batch=4), Plan(shards=2, micro_batch=8),
        *(Plan(stages=2, micro_batch=size, micro_batches=4) for size in (2, 4))]
trained = [Rehearsal(plan, model, 0.1, calls if plan.devices > 1 else None) for plan in ways]
known = named_device('A100 SXM 80GB', 'auto', 8, None)
def make(theta):
    stack = known.make(theta)
    return replace(stack, rehearsed=rehearsed_ways(trained, stack))
wish = Wish(64, recomputes=('none', 'full'), shardings=('none', 'states', 'all'))
plans = list(islice(cycle(asked_plans(workload, wish)), {COUNT}))
found = answer(workload, plans, replace(known, make=make))
assert (found.prediction.rehearsed > 0).all()
advise(found)
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


def test_so_they_are_where_ways_were_rehearsed() -> None:
    assert _processor_seconds(REHEARSED) < SECONDS
