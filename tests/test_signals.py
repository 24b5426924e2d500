"""A signal is a wish to stop; once stopped, nothing changes the exit status any more."""

import signal

import pytest

from vidssl_cli.errors import Interrupted, Preempted
from vidssl_cli.signals import StopSignals, stopped

WATCHED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


def interrupt(*numbers):
    with StopSignals() as signals:
        for number in numbers:
            signal.raise_signal(number)
        raise stopped(signals.received, "after step 3")


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGTERM, Preempted), (signal.SIGUSR1, Preempted), (signal.SIGINT, Interrupted)],
)
def test_a_signal_is_noted_and_later_ones_do_not_end_the_process(number, kind):
    with pytest.raises(kind, match="after step 3"):
        interrupt(number)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_ends_at_once():
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT, signal.SIGINT)


def test_without_a_signal_everything_is_as_before():
    before = {number: signal.getsignal(number) for number in WATCHED}
    with StopSignals():
        pass
    assert {number: signal.getsignal(number) for number in WATCHED} == before
