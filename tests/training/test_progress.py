"""Progress says how fast both sides are, and which one holds the run back."""

from vidssl_cli.training.progress import TrainingProgress, who_holds_back


def test_the_slower_one_is_named():
    assert who_holds_back(20, 50) == "the data, 2.5 times slower than the model"
    assert who_holds_back(50, 20) == "the model, 2.5 times slower than the data"


def test_waiting_is_told_apart_from_training(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("vidssl_cli.training.progress.time.monotonic", lambda: now)

    def batches():
        nonlocal now
        for number in range(2):
            now += 1
            yield number

    with TrainingProgress(2, 0, offer=lambda: 8.0, shown=True) as progress:
        for _ in progress.timed(batches()):
            now += 4
            progress.advance(8, {"loss": 0.5, "lr": 0.1})
    told = capsys.readouterr().err.splitlines()
    assert told[-2] == (
        "step 2/2  loss 0.500  1.6 clips/s (data 8, model 2), 20% waiting for data, 0:00 left"
    )
    assert told[-1].endswith("held back by the model, 4.0 times slower than the data")
