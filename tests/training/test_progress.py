"""Progress says how fast data loading and the model are, and which is the bottleneck."""

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
        "step 2/2  loss 0.500  1.6 clips/s (data 8, model 2), 20% waiting for data, 0:00 left"
    )
    assert told[-1].endswith("bottleneck: the model, 4.0 times slower than data loading")
