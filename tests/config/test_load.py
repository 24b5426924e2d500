"""Recipes either load or say, all at once, where and how they are wrong."""

import re

import pytest

from vidssl_cli.base.errors import RecipeError, UsageError
from vidssl_cli.config import listing, load
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.registry import offered

GOOD = """\
backbone: {name: r3d, depth: 10}
sampler: {name: pace}
pretext: {name: pace}
train:
  epochs: 1
  batch_videos: 4
  optimizer: {name: sgd, lr: 0.01}
"""
BAD = """\
summary: wrong in every way
input: {resize: 72, cropp: 64}
backbone: {name: r3d, depht: 10, width: true-ish}
sampler:
  name: pacee
pretext:
  - name: pace
    weight: -1
  - {weight: 2}
train:
  epochs: many
  epochs: 3
  batch_videos: 4
  optimizer: {name: adamw, lr: 0, betas: [1, 2]}
  schedule: {name: step}
  precision: bf17
evaluation: 3
augment:
published:
- figures: {top1: high}
"""
PROBLEMS = """\
:12:3: train.epochs: occurs twice, first at {}:11:3
:2:21: input.cropp: unknown key; did you mean 'crop'?
:3:23: backbone.depht: unknown key; did you mean 'depth'?
:3:34: backbone.width: found 'true-ish', expected a valid integer
:5:3: sampler.name: found 'pacee', expected {samplers}; did you mean 'pace'?
:8:5: pretext.0.weight: found -1, expected a number greater than or equal to 0
:9:5: pretext.1: found {{"weight": 2}}, expected a mapping whose name is {pretexts}
:11:3: train.epochs: found 'many', expected a valid integer
:14:28: train.optimizer.lr: found 0, expected a number greater than 0
:14:46: train.optimizer.betas.1: found 2, expected a number less than or equal to 1
:15:3: train.schedule.every: missing, and it has no default
:16:3: train.precision: found 'bf17', expected 'auto', 'fp32', 'fp16' or 'bf16'; did you mean 'bf16'?
:17:1: evaluation: found 3, expected a mapping of keys
:18:1: augment: found nothing, expected a mapping of keys
:20:3: published.0: found {{"figures": {{"top1": "high"}}}}, expected a valid string
"""  # noqa: E501


def located(file):
    """Return the problems as lines, with the plugins that are installed."""
    samplers, pretexts = (
        " or ".join(", ".join(map(repr, sorted(offered(kind)))).rsplit(", ", 1))
        for kind in ("sampler", "pretext")
    )
    return PROBLEMS.format(file, samplers=samplers, pretexts=pretexts)


@pytest.fixture
def recipe(tmp_path):
    """A function that writes a recipe file."""

    def write(text):
        path = tmp_path / "r.yaml"
        path.write_text(text)
        return path

    return write


def problems(path, *overrides):
    with pytest.raises(RecipeError) as caught:
        load.load(path, overrides)
    assert caught.value.where == str(path)
    return [line.replace(str(path), "") for line in str(caught.value).splitlines()]


def test_every_problem_is_located(recipe):
    assert problems(recipe(BAD)) == located("").splitlines()


def test_problems_of_overrides_are_located(recipe):
    assert problems(
        recipe(GOOD),
        "backbone={name: r3d, depth: 11}",
        "train.schedule.name=step",
        "train.epochs.x=3",
        "pretext.0.weight=-3",
        "sampler",
        "trian=3",
        "train.seed=-1",
    ) == [
        "--set train.epochs.x=3: train.epochs.x: train.epochs is 1, which has no keys",
        "--set sampler: found no KEY=VALUE, expected such as train.epochs=5",
        "--set backbone={name: r3d, depth: 11}: backbone.depth: found 11, expected 10, 18 or 34",
        "--set train.schedule.name=step: train.schedule.every: missing, and it has no default",
        "--set pretext.0.weight=-3: pretext.weight: found -3, "
        "expected a number greater than or equal to 0",
        "--set trian=3: trian: unknown key; did you mean 'train'?",
        "--set train.seed=-1: train.seed: found -1, expected a number greater than or equal to 0",
    ]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("pretext: {name: pace}\n", ""), ":1:1: pretext: missing, and it has no default"),
        (("{name: pace}\ntrain", "[]\ntrain"), ":3:1: pretext: Tuple should have at least 1 item"),
        (("{name: r3d, depth: 10}", "r3d"), ":1:1: backbone: found 'r3d', expected a mapping"),
        (("epochs: 1", "epochs: 1.5"), ":5:3: train.epochs: found 1.5, expected a valid integer"),
        (("lr: 0.01", "lr: .nan"), ":7:26: train.optimizer.lr: found NaN, expected"),
        (("train:", "task: finetun\ntrain:"), ":4:1: task: found 'finetun', expected 'pretrain'"),
        (("train:", "task: [1]\ntrain:"), ":4:1: task: found [1], expected 'pretrain'"),
        (
            ("train:", "input: {resize: 100, crop: 112}\ntrain:"),
            ":4:1: input: crop 112 does not fit into frames resized to 100",
        ),
        (
            ("train:", "input: {resize: [1, x]}\ntrain:"),
            ':4:9: input.resize: found [1, "x"], expected',
        ),
        (
            ("{name: pace}\ntrain", "{name: temporal_transforms}\ntrain"),
            ":3:1: pretext: temporal_transforms needs the label",
        ),
        (
            ("batch_videos: 4", "batch_videos: 5\n  accumulate: 2"),
            ":4:1: train: batch_videos 5 cannot be cut into 2 equal parts",
        ),
    ],
)
def test_each_kind_of_mistake_is_explained(recipe, change, problem):
    assert GOOD.count(change[0]) == 1
    assert problems(recipe(GOOD.replace(*change)))[0].startswith(problem)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n- b\n", "three"])
def test_a_recipe_is_a_mapping(recipe, text):
    assert problems(recipe(text)) == [":1:1: found no keys, expected a mapping of keys to values"]


def test_pretext_may_be_one_mapping_or_a_list(recipe):
    one = load.load(recipe(GOOD))
    several = GOOD.replace("pretext: {name: pace}", "pretext: [{name: pace}]")
    assert load.load(recipe(several)) == one
    assert problems(recipe(GOOD), "pretext.weight=-1")[0].startswith("--set pretext.weight=-1: ")


def test_overrides_change_the_recipe(recipe):
    loaded = load.load(recipe(GOOD), ["train.epochs=7", "train.schedule={name: cosine}"])
    assert loaded.train.epochs == 7
    assert loaded.train.schedule.name == "cosine"
    assert loaded.train.batch_videos == 4


def test_each_command_takes_its_own_recipes(recipe):
    path = recipe(GOOD)
    assert load.load_as(PretrainRecipe, path) == load.load(path)
    with pytest.raises(RecipeError, match=r"r\.yaml:1:1: task: .* for `vidssl pretrain`"):
        load.load_as(FinetuneRecipe, path)


@pytest.mark.parametrize("name", load.names())
def test_shipped_recipes_load_and_survive_being_written_out(name, tmp_path):
    path = load.find(name)
    loaded = load.load(name)
    written = tmp_path / "recipe.yaml"
    written.write_text(load.resolved_yaml(loaded))
    assert load.load(written) == loaded
    assert listing.outline(name, path).summary == loaded.summary != ""
    opening = path.read_text().partition("\n\n")[0]
    assert re.search(rf"^#   vidssl .*{name}", path.read_text(), re.MULTILINE), opening


def changes_told(path):
    """Return what an opening comment says may be --set, commands aside; neighbours together."""
    comment = re.sub(r"\\\n#\s+", "", path.read_text().partition("\nsummary:")[0])
    lines = comment.splitlines()
    told = " ".join(line[2:] for line in lines if not line.startswith("#   vidssl"))
    told = re.sub(r"`vidssl [^`]*`", "", " ".join(told.split()))
    change = r"--set ('[^']+'|[^\s,;:)]+)"
    groups = re.finditer(rf"(?:{change}\s+)*{change}", told)
    return [[one.strip("'.") for one in re.findall(change, group[0])] for group in groups]


@pytest.mark.parametrize("name", load.names())
def test_changes_that_a_recipe_tells_of_are_valid(name):
    for changes in changes_told(load.find(name)):
        load.load(name, changes)


def test_some_recipes_tell_of_changes():
    told = [changes_told(load.find(name)) for name in load.names()]
    assert sum(map(len, told)) > 5


def test_a_resolved_recipe_spells_everything_out(recipe):
    text = load.resolved_yaml(load.load(recipe(GOOD)))
    assert text.startswith("# ")
    assert "\n  mean: [0.5, 0.5, 0.5]\n" in text
    assert "\n  clip_gradient: null\n" in text


def test_a_recipe_is_found_by_name_or_by_path(recipe, monkeypatch):
    path = recipe(GOOD)
    monkeypatch.chdir(path.parent)
    assert load.find("small/pace").name == "pace.yaml"
    assert load.find("r.yaml").samefile(path)
    with pytest.raises(UsageError, match="did you mean 'small/pace'"):
        load.find("smal/pace")
    with pytest.raises(UsageError, match=r"'nowhere\.yaml'"):
        load.find("nowhere.yaml")
    with pytest.raises(UsageError):
        load.find(path.parent)


def test_a_recipe_that_cannot_be_read_is_still_listed(recipe):
    path = recipe("a: [")
    outline = listing.outline("r", path)
    assert outline.summary.startswith(f"cannot be read: {path}:1:5: ")
    assert outline.method() == "the network of a run"


def test_an_evaluator_is_chosen_by_name_with_options():
    options = load.load_options(EvaluatorOptions, "retrieval")
    assert options.name == "retrieval"
    with pytest.raises(RecipeError, match=r"--evaluator retrievl: .* did you mean 'retrieval'"):
        load.load_options(EvaluatorOptions, "retrievl")
    with pytest.raises(RecipeError) as caught:
        load.load_options(EvaluatorOptions, "retrieval", ["depth=3", "level=[1"])
    first, second = str(caught.value).splitlines()
    assert first.startswith("--set level=[1: ")
    assert second.startswith("--set depth=3: depth: unknown key")
