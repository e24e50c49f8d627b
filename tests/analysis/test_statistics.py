"""Known truths for the statistics."""

from __future__ import annotations

import math
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from suite.analysis.statistics import (
    Interval,
    Spread,
    coefficient_of_variation,
    exact_from,
    median,
    median_interval,
    rank_sum_critical,
    ratio_interval,
    signed_rank_critical,
    typical_spread,
    unpaired_ratio_interval,
)
from suite.contract.sign_test import sign_critical
from tests.accuracy.simulation import NOISES, false_differences, missed_medians, under_the_rule


def test_one_launch_has_no_interval() -> None:
    for found in (median_interval([0.5]), ratio_interval([0.5], [1.0])):
        assert found.estimate == pytest.approx(0.5)
        assert math.isnan(found.low) and math.isnan(found.high)


def test_interval_holds_the_median() -> None:
    middle, low, high = median_interval([1.0, 1.1, 1.2, 1.3, 5.0])
    assert middle == 1.2 and low < middle < high


def test_three_launches_by_hand() -> None:
    # Logarithms -1, 0, 1: mean 0, standard error 1/sqrt(3), t(0.975, 2) = 4.302653.
    found = median_interval([math.exp(-1), 1.0, math.exp(1)])
    assert math.log(found.high) == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert math.log(found.low) == pytest.approx(-math.log(found.high))


def test_order_statistics_by_hand() -> None:
    # Of 9 samples the 2nd and the 8th: P(Binomial(9, 1/2) <= 1) = 0.0195 <= 0.025.
    found = median_interval([float(x) for x in range(1, 10)])
    assert tuple(found) == (5.0, 2.0, 8.0)


@pytest.mark.parametrize("count", [6, 9, 20])
def test_the_ratio_interval_inverts_scipys_signed_rank_test(count: int) -> None:
    logs = np.random.default_rng(count).normal(0.1, 0.3, count)
    found = ratio_interval(np.exp(logs), np.ones(count))
    for edge, inwards in ((math.log(found.low), 1e-9), (math.log(found.high), -1e-9)):
        inside = stats.wilcoxon(logs - edge - inwards, method="exact").pvalue
        outside = stats.wilcoxon(logs - edge + inwards, method="exact").pvalue
        assert outside <= 0.05 < inside


def test_where_exact_tests_can_reach_a_level() -> None:
    assert exact_from(0.95) == 6 and signed_rank_critical(6, 0.95) == 0
    assert exact_from(1 - 0.05 / 15) == 10


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("launches", [3, 5, 6, 7, 12, 30])
def test_two_equal_cases_differ_in_five_percent(noise: str, launches: int) -> None:
    # 600 comparisons: a true 5 % shows above 8 % in fewer than one of a thousand.
    assert false_differences(noise, launches, runs=600) <= 0.08


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("launches", [3, 5, 7, 20])
def test_the_median_lies_in_its_interval(noise: str, launches: int) -> None:
    assert missed_medians(noise, launches, runs=300) <= 0.09


def test_looking_again_and_again_costs_little() -> None:
    found = under_the_rule("log-normal", 0.02, effect=1.0, runs=250)
    assert found.different <= 0.09 and 6 <= found.launches < 30
    assert under_the_rule("log-normal", 0.02, effect=1.05, runs=100).different >= 0.9


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_median_interval_is_scipys_quantile_test(level: float) -> None:
    generator = np.random.default_rng(0)
    for count in range(exact_from(level), 60):
        sample = np.exp(generator.normal(size=count))
        found = median_interval(sample.tolist(), level)
        tested = stats.quantile_test(sample, q=np.median(sample), p=0.5)
        assert found[1:] == pytest.approx(tuple(tested.confidence_interval(level)))


def test_few_unpaired_launches_have_welchs_interval() -> None:
    generator = np.random.default_rng(1)
    for counts in ((2, 2), (3, 3), (2, 5), (3, 4)):
        ours, theirs = (np.exp(generator.normal(0, 1 + n, n)) for n in counts)
        found = unpaired_ratio_interval(ours.tolist(), theirs.tolist(), 0.99)
        tested = stats.ttest_ind(np.log(ours), np.log(theirs), equal_var=False)
        assert np.log(found[1:]) == pytest.approx(tuple(tested.confidence_interval(0.99)))


def test_a_half_width_is_relative_to_the_estimate() -> None:
    assert Interval(4.0, 3.0, 7.0).half_width == 0.5
    assert math.isnan(Interval(4.0, math.nan, math.nan).half_width)


def _largest_within(outcomes: list[int], level: float) -> int:
    """The largest c that at most (1 - level) / 2 of these equally likely outcomes do not exceed."""
    allowed = (1 - level) / 2 * len(outcomes)
    fits = [c for c in range(-1, max(outcomes) + 1)
            if sum(one <= c for one in outcomes) <= allowed + 1e-9]
    return max(fits)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_critical_values_by_counting_every_outcome(level: float) -> None:
    for count in range(1, 9):
        tosses = list(product((0, 1), repeat=count))
        assert sign_critical(count, level) == _largest_within([sum(t) for t in tosses], level)
        ranks = [sum(rank * t for rank, t in enumerate(toss, 1)) for toss in tosses]
        assert signed_rank_critical(count, level) == _largest_within(ranks, level)
    for first, second in ((1, 1), (2, 3), (4, 4), (3, 6), (6, 2)):
        beaten = [sum(rank - place for place, rank in enumerate(ours))
                  for ours in combinations(range(first + second), first)]
        assert rank_sum_critical(first, second, level) == _largest_within(beaten, level)


def test_four_unpaired_launches_by_hand() -> None:
    """P(U <= 0) = 1/70 is within 2.5 %, P(U <= 1) = 2/70 is not: all but the two ends are held."""
    ours, theirs = [1.0, 2.0, 4.0, 8.0], [1.0] * 4
    found = unpaired_ratio_interval([2.0, 4.0, 8.0, 16.0], [1.0, 1.01, 1.02, 1.03])
    assert found.low == pytest.approx(2.0 / 1.03) and found.high == pytest.approx(16.0)
    assert unpaired_ratio_interval(ours, theirs).estimate == pytest.approx(math.sqrt(8))


def test_counts_that_never_vary_have_no_width_and_one_launch_no_interval() -> None:
    assert tuple(unpaired_ratio_interval([6.0, 6.0], [3.0, 3.0])) == pytest.approx((2.0, 2.0, 2.0))
    for ours, theirs in (([2.0], [1.0, 1.0]), ([2.0, 2.0], [1.0])):
        assert math.isnan(unpaired_ratio_interval(ours, theirs).low)


@pytest.mark.parametrize(("cases", "blocks", "degrees"), [
    (3, 5, None), (4, 1, None), (4, 2, 1), (7, 3, 2), (8, 3, 3), (10, 3, 4), (40, 3, 4),
])
def test_as_many_degrees_as_two_cases_each_and_four_at_the_most(
    cases: int, blocks: int, degrees: int | None
) -> None:
    found = typical_spread(np.exp(np.random.default_rng(0).normal(size=(cases, blocks))))
    assert (found.degrees if found else None) == degrees


@pytest.mark.parametrize("blocks", [2, 3, 6])
def test_the_typical_spread_is_that_of_a_pair(blocks: int) -> None:
    """Levels of cases and of blocks do not count, nor one case that scatters by a factor."""
    generator = np.random.default_rng(blocks)
    logs = 0.1 * generator.normal(size=(3000, blocks))
    logs += generator.normal(size=(3000, 1)) + generator.normal(size=(1, blocks))
    logs[0] *= 50
    found = typical_spread(np.exp(logs))
    assert found and found.variance == pytest.approx(2 * 0.1**2, rel=0.07)


@pytest.mark.parametrize(("variance", "whole"), [
    (4.0, 2.5),  # (2 · 1 + 2 · 4) / 4
    (0.1, 1.0),  # a pair's own is never narrowed
])
def test_other_cases_steady_a_pairs_variance(variance: float, whole: float) -> None:
    """Logarithms -1, 0, 1: own variance 1 of two degrees; t(0.975, 4) = 2.776445."""
    ratios = [math.exp(one) for one in (-1, 0, 1)]
    found = ratio_interval(ratios, [1.0] * 3, spread=Spread(variance, 2))
    assert math.log(found.high) == pytest.approx(math.sqrt(whole / 3) * 2.776445, rel=1e-6)
    assert math.log(found.low) == pytest.approx(-math.log(found.high))


@pytest.mark.parametrize("samples", [[3.0], [1.0, 2.0], [5.0, 1.0, 2.0], [4.0, 1.0, 2.0, 9.0]])
def test_the_median_is_numpys(samples: list[float]) -> None:
    assert median(samples) == median(np.array(samples)) == np.median(samples)


def test_variation_is_relative_to_the_mean() -> None:
    assert coefficient_of_variation([1.0, 3.0]) == 0.5
