"""SVM and nearest neighbours against scikit-learn; what classifiers of frozen features share."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.registry import offered
from vidssl_cli.evaluation.made_up import MadeUpStudy, labelled
from vidssl_plugins.evaluators.hooks import KNN, SVM, Linear, Retrieval
from vidssl_plugins.evaluators.shared.classifiers import nearest, ranked_by_votes


def overlapping(weights, look, reading):
    """Clouds of which one runs into the next."""
    random = np.random.default_rng([*look.video.path.encode()])
    return 1.5 * np.eye(8)[int(look.video.label)] + random.normal(size=(len(look.frames), 8))


def toy(seed=0, **changes):
    parts = {"train": labelled(f"train {seed} ", 20), "test": labelled(f"test {seed} ", 15)}
    options = {"weights": ("run",), "taps": {"pool5": 8}} | parts | changes
    return MadeUpStudy(overlapping, **options)


def arrays(study):
    """Return features, as a protocol has them, and classes of both parts."""
    parts = (study.train, study.test)
    features = [
        np.stack([overlapping("run", Two(v), None).astype(np.float32).mean(0) for v in part])
        for part in parts
    ]
    return *features, *([int(v.label) for v in part] for part in parts)


class Two:
    """A look at two clips of a video."""

    frames = (0, 1)

    def __init__(self, video):
        self.video = video


def test_svm_agrees_with_scikit_learn():
    study, penalties = toy(), [1e-4, 1e-2, 1]
    train, test, classes, truth = arrays(study)
    scaler = StandardScaler().fit(train)
    machine = OneVsRestClassifier(LinearSVC(random_state=0))
    search = GridSearchCV(machine, {"estimator__C": penalties}, cv=5)
    predicted = search.fit(scaler.transform(train), classes).predict(scaler.transform(test))
    report = SVM(name="svm", penalties=penalties).build()(study)
    expected = np.mean(predicted == truth)
    assert report.rows[0]["accuracy"] == pytest.approx(expected)
    assert report.figures[0].counts == confusion_matrix(truth, predicted).tolist()
    assert 0.5 < expected < 1


@pytest.mark.parametrize("name", ["linear", "svm", "knn"])
def test_features_of_the_classes_are_told_from_noise(name):
    study = MadeUpStudy(test=labelled("test", 20))
    run, random = offered("evaluator")[name](name=name).build()(study).rows
    assert run["accuracy"] > 0.9
    assert random["accuracy"] < 0.6


def test_classes_that_gain_most_come_first():
    """Class 0 is known to both, class 1 to neither, class 2 to the run alone."""

    def answer(weights, look, reading):
        known = {"0", "2"} if weights == "run" else {"0"}
        label = look.video.label
        if look.video.split == "test" and label not in known:
            label = "0"
        return np.eye(3)[[int(label)] * len(look.frames)]

    report = KNN(name="knn").build()(MadeUpStudy(answer, taps={"pool5": 3}))
    (table,) = report.tables
    assert list(table.columns) == ["class", "tested", "run", "random"]
    assert table.rows == [["2", 4, 100, 0], ["0", 4, 100, 100], ["1", 4, 0, 0]]
    assert [figure.title for figure in report.figures] == [
        "knn, run weights", "knn, random weights",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("standardise", [True, False])
def test_one_neighbour_is_retrieval(seed, standardise):
    settings = {"standardise": standardise, "crops": "three"}
    voted = KNN(name="knn", **settings).build()(toy(seed)).rows[0]
    found = Retrieval(name="retrieval", standardise=standardise, topk=[1]).build()(toy(seed))
    assert voted["accuracy"] == found.rows[0]["top1"]
    assert 0.3 < voted["accuracy"] < 1


@pytest.mark.parametrize("neighbours", [1, 5, 15])
def test_neighbours_agree_with_scikit_learn(neighbours):
    random = np.random.default_rng(0)
    train, test = random.normal(size=(2, 60, 6))
    classes = random.integers(0, 2, 60)
    reference = KNeighborsClassifier(neighbours, metric="cosine").fit(train, classes)
    assert (nearest(neighbours)(train, classes, test) == reference.predict(test)).all()
    cosines = KNeighborsClassifier(
        neighbours, metric="cosine", weights=lambda distance: np.exp(-distance / 0.07)
    )
    expected = cosines.fit(train, classes).predict(test)
    assert (nearest(neighbours, 0.07)(train, classes, test) == expected).all()


def test_between_equal_votes_the_nearest_decides():
    angles = np.array([0.1, 0.2, 0.3, 0.4])
    train = np.stack([np.cos(angles), np.sin(angles)], 1)
    asked = np.array([[1.0, 0]])
    assert nearest(4)(train, np.array([2, 1, 1, 2]), asked) == [2]
    assert nearest(4)(train, np.array([1, 2, 2, 1]), asked) == [1]
    assert nearest(3)(train, np.array([2, 1, 1, 2]), asked) == [1]


def test_classes_are_ranked_by_their_votes():
    angles = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    train = np.stack([np.cos(angles), np.sin(angles)], 1)
    asked, classes = np.array([[1.0, 0]]), np.array([3, 1, 1, 0, 3])
    assert ranked_by_votes(5)(train, classes, asked).tolist() == [[3, 1, 0, -1, -1]]
    assert ranked_by_votes(4)(train, classes, asked).tolist() == [[1, 3, 0, -1]]
    assert ranked_by_votes(4, 1e-3)(train, classes, asked).tolist() == [[3, 1, 0, -1]]


def test_a_class_may_be_among_five():
    parts = {"train": labelled("train", 9, classes=8), "test": labelled("test", 9, classes=8)}
    (row,) = KNN(name="knn", neighbours=20, temperature=0.07).build()(toy(**parts)).rows
    assert row["accuracy"] < row["top5"] <= 1
    (row,) = KNN(name="knn", neighbours=4).build()(toy(**parts)).rows
    assert "top5" not in row
    report = KNN(name="knn", neighbours=5).build()(toy(**parts))
    assert report.chances["top5"] == 5 / 8


@pytest.mark.parametrize("name", ["linear", "svm", "knn"])
def test_a_class_that_is_never_trained_is_never_right(name):
    study = toy(train=labelled("train", 5, classes=2), test=labelled("test", 5, classes=3))
    report = offered("evaluator")[name](name=name).build()(study)
    (confusion,) = report.figures
    assert list(confusion.classes) == ["0", "1", "2"]
    assert np.sum(confusion.counts, 0)[2] == 0
    assert report.rows[0]["accuracy"] <= 2 / 3
    assert report.facts["test"] == 15


@pytest.mark.parametrize("name", ["linear", "svm", "knn", "low_shot", "finetune"])
@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"train": labelled("train", 9, classes=1)}, "9 training videos of 1 classes, 9 of the"),
        ({"train": ()}, "0 training videos of 0 classes"),
        ({"test": ()}, "found 0 test videos"),
    ],
)
def test_too_little_to_learn_from(name, parts, found):
    with pytest.raises(UsageError, match=f"{name} .*{found}"):
        offered("evaluator")[name](name=name).build()(toy(**parts))


@pytest.mark.parametrize(
    "options", [Linear(name="linear"), SVM(name="svm"), Linear(name="linear", head="fc")]
)
def test_one_video_of_a_class_is_too_few(options):
    train = [*labelled("train", 3), *labelled("more", 1, classes=4)[3:]]
    with pytest.raises(UsageError, match="10 training videos of 4 classes, 1 of the smallest"):
        options.build()(toy(train=train))
