"""Whether the loss still falls at the end of a run."""

import pytest

from vidssl_cli.training.final_loss import FinalLoss


def rows(losses):
    steps = [{"step": step, "epoch": 0, "loss": loss} for step, loss in enumerate(losses, 1)]
    return [*steps, {"step": len(steps), "epoch": 0, "epoch.loss": 9.0}, {"not_finite": ["loss"]}]


def noisy(count, slope):
    return [3 - slope * step / count + (0.1 if step % 2 else -0.1) for step in range(count)]


@pytest.mark.parametrize(("slope", "falls"), [(10, True), (0, False), (-10, False)])
def test_a_fall_counts_where_it_is_larger_than_the_noise(slope, falls):
    found = FinalLoss.of(rows(noisy(200, slope)))
    assert found.falls is falls
    assert found.before - found.last == pytest.approx(slope / 10)
    assert ("still falling" in found.describe()) is falls


def test_a_short_run_is_not_judged():
    found = FinalLoss.of(rows(noisy(40, 10)))
    assert found.falls is None
    assert "too few steps" in found.describe()
    assert FinalLoss.of(rows([1.0])) is None
