"""The linear probe against scikit-learn, on made-up features."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from vidssl_cli.errors import UsageError
from vidssl_cli.made_up import MadeUpStudy
from vidssl_cli.videos import Video
from vidssl_plugins.evaluators.hooks import Linear


def study(labels=(0, 1, 2) * 20, shift=1.5, seed=0):
    """Three classes whose features are Gaussian clouds, two clips of each video."""
    random = np.random.default_rng(seed)
    centres = shift * random.normal(size=(3, 5))
    clips, parts = {}, {}
    for split in ("train", "test"):
        parts[split] = [
            Video(f"{split}{i}", label=str(c), split=split, frames=50) for i, c in enumerate(labels)
        ]
        found = centres[list(labels), None] + random.normal(size=(len(labels), 2, 5))
        clips |= dict(zip((v.path for v in parts[split]), found.astype(np.float32), strict=True))
    toy = MadeUpStudy(
        lambda weights, look, reading: clips[look.video.path],
        *parts.values(),
        weights=("run",),
        taps={"pool5": 5},
    )
    arrays = [np.stack([clips[v.path].mean(0) for v in part]) for part in parts.values()]
    return toy, arrays, [str(c) for c in labels]


def test_agrees_with_scikit_learn():
    toy, (train, test), labels = study()
    scaler = StandardScaler().fit(train)
    penalties = [1e-3, 0.1, 10]
    scores = [
        cross_val_score(LogisticRegression(C=c, max_iter=500), scaler.transform(train), labels)
        for c in penalties
    ]
    best = penalties[int(np.argmax(np.mean(scores, 1)))]
    reference = LogisticRegression(C=best, max_iter=500).fit(scaler.transform(train), labels)
    expected = reference.score(scaler.transform(test), labels)
    report = Linear(name="linear", penalties=penalties).build()(toy)
    assert report.rows == [{"weights": "run", "accuracy": pytest.approx(expected)}]
    assert 0.6 < expected < 1


def test_chance_names_the_commonest_class():
    toy, *_ = study(labels=(0, 0, 0, 1, 2) * 6)
    assert Linear(name="linear", penalties=[1]).build()(toy).chance == pytest.approx(0.6)


@pytest.mark.parametrize("labels", [(0,) * 6, (0, 0, 0, 1)])
def test_too_little_to_learn_from(labels):
    with pytest.raises(UsageError, match="of the smallest"):
        Linear(name="linear").build()(study(labels)[0])
