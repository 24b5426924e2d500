"""A signal is a wish to stop; once stopped, nothing changes the exit status any more."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from vidssl_cli.base import signals
from vidssl_cli.base.errors import Interrupted, Preempted
from vidssl_cli.base.signals import PARENT, WATCHED, Stopped, StopSignals, stopped


def interrupt(*numbers):
    with StopSignals() as signals:
        for number in numbers:
            signal.raise_signal(number)
        raise stopped(signals.received, "after step 3")


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (signal.SIGTERM, Preempted),
        (signal.SIGUSR1, Preempted),
        (signal.SIGHUP, Preempted),
        (signal.SIGINT, Interrupted),
    ],
)
def test_a_signal_is_noted_and_later_ones_do_not_end_the_process(number, kind):
    with pytest.raises(kind, match="after step 3"):
        interrupt(number)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_ends_at_once(monkeypatch):
    monkeypatch.setattr(signals, "AGAIN", 0)
    with pytest.raises(KeyboardInterrupt):
        interrupt(signal.SIGINT, signal.SIGINT)


def test_a_ctrl_c_that_comes_twice_is_one():
    with pytest.raises(Interrupted):
        interrupt(signal.SIGINT, signal.SIGINT)


def test_the_first_signal_counts():
    with pytest.raises(Preempted, match="SIGUSR1"):
        interrupt(signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


def test_where_the_work_goes_on_that_is_said_at_once(capfd):
    with StopSignals("stopping after this step\n") as watched:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert capfd.readouterr().err == "stopping after this step\n"
    with (
        pytest.raises(Stopped),
        StopSignals("stopping after this step\n") as watched,
        watched.at_once(),
    ):
        signal.raise_signal(signal.SIGINT)
    assert capfd.readouterr().err == ""


def clean_up_after(watched):
    with watched.at_once():
        try:
            signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.raise_signal(signal.SIGTERM)


def test_where_nothing_is_lost_a_signal_ends_at_once_and_the_next_does_not_disturb():
    with StopSignals() as watched:
        with pytest.raises(Stopped) as raised:
            clean_up_after(watched)
        assert raised.value.number == signal.SIGUSR1
        with pytest.raises(Stopped), watched.at_once():
            pytest.fail("a signal that was noted before is forgotten")
    assert not isinstance(raised.value, Exception)


def test_a_signal_ends_the_wait_for_the_next_item_and_not_what_is_done_with_one():
    def items():
        yield "one"
        yield "two"
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on waiting")

    done = []
    with StopSignals() as watched:
        for item in watched.until(items()):
            done.append(item)
    assert done == ["one", "two"]
    assert watched.received == signal.SIGTERM
    with StopSignals() as watched:
        for item in watched.until(["three", "four"]):
            signal.raise_signal(signal.SIGTERM)
            done.append(item)
    assert done == ["one", "two", "three"]
    assert list(StopSignals().until("ab")) == ["a", "b"]


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as watched:
            signal.raise_signal(signal.SIGHUP)
        assert watched.received == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


CHILD = """
import os, signal, sys
from vidssl_cli.base.signals import StopSignals, follow_parent
with StopSignals() as watched:
    follow_parent()
    print(os.getpid(), flush=True)
    while not watched.received:
        signal.pause()
print(signal.Signals(watched.received).name, flush=True)
"""
PARENTS = """
import os, subprocess, sys, time
environment = os.environ | {sys.argv[1]: sys.argv[2] or str(os.getpid())}
subprocess.Popen([sys.executable, "-c", sys.argv[3]], env=environment)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("name", [PARENT, "TORCHELASTIC_RUN_ID"])
def test_a_process_is_told_when_the_one_that_it_belongs_to_is_killed(name):
    script = [sys.executable, "-c", PARENTS, name, "" if name == PARENT else "none", CHILD]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
        try:
            assert parent.stdout.readline() == "SIGTERM\n"
        finally:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def test_what_is_done_is_not_undone_while_the_process_ends():
    with StopSignals() as signals:
        signals.ignore()
    for number in WATCHED:
        signal.raise_signal(number)
    assert signals.received == 0


def test_without_a_signal_everything_is_as_before():
    before = {number: signal.getsignal(number) for number in WATCHED}
    with StopSignals():
        pass
    assert {number: signal.getsignal(number) for number in WATCHED} == before
