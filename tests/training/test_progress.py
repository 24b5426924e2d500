"""Progress says how fast data loading and the model are, and which is the bottleneck."""

import io

import pytest
from rich.console import Console

from vidssl_cli.training import progress as module
from vidssl_cli.training.progress import ProgressDisplay, name_bottleneck


def test_the_slower_one_is_named():
    assert name_bottleneck(20, 50) == "data loading, 2.5 times slower than the model"
    assert name_bottleneck(50, 20) == "the model, 2.5 times slower than data loading"


def test_waiting_is_told_apart_from_training(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("vidssl_cli.training.progress.time.monotonic", lambda: now)

    def batches():
        nonlocal now
        for number in range(2):
            now += 1
            yield number

    with ProgressDisplay(2, 0, capacity=lambda: 8.0, shown=True) as progress:
        for _ in progress.timed(batches()):
            now += 4
            progress.advance(8, {"loss": 0.5, "lr": 0.1})
    told = capsys.readouterr().err.splitlines()
    assert told[-2] == (
        "step 2/2  0:00 left  loss 0.500  1.6 clips/s  (data 8, model 2)  20% waiting for data"
    )
    assert told[-1].endswith("bottleneck: the model, 4.0 times slower than data loading")


@pytest.mark.parametrize(
    ("width", "last"), [(60, "loss 5.012  pace 1.386"), (80, "clips/s"), (120, "waiting for data")]
)
def test_a_terminal_shows_the_time_left_first_and_the_rest_where_there_is_room(
    width, last, monkeypatch
):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(module, "stderr", console)
    with ProgressDisplay(12800, 0, capacity=lambda: 80.0, shown=True) as display:
        display.advance(16, {"loss": 5.0123, "pace": 1.386, "lr": 0.1})
        display._bar.refresh()
    line = next(line for line in reversed(screen.getvalue().splitlines()) if "left" in line)
    line = line.rpartition("\r")[2].replace("\x1b[2K", "").rstrip()
    assert len(line) <= width
    assert line.split()[0] == "1/12800"
    assert line.index("left") < line.index("loss")
    assert line.endswith(last)
