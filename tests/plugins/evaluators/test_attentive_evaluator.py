"""The attentive probe: its pooler against transformers', and what averages do not tell."""

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.evaluation.made_up import MadeUpStudy, labelled
from vidssl_plugins.evaluators.attentive import Probe
from vidssl_plugins.evaluators.hooks import Attentive, Linear

WIDTH, PLACES = 16, 24
QUICK = {"heads": 2, "epochs": 30, "lr": 5e-3}


def attentive(made_up, pooler=QUICK, **options):
    return Attentive(name="attentive", pooler=pooler, **options).build()(made_up)


@pytest.mark.parametrize("blocks", [0, 2])
def test_the_pooler_is_that_of_transformers(blocks):
    models = pytest.importorskip("transformers.models.vjepa2.modeling_vjepa2")
    config = models.VJEPA2Config(
        hidden_size=24, num_attention_heads=4, num_pooler_layers=blocks, attn_implementation="sdpa"
    )
    theirs, probe = models.VJEPA2AttentivePooler(config), Probe(24, 5, heads=4, blocks=blocks)
    with torch.no_grad():
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    read = theirs.cross_attention_layer
    state = {
        "query": theirs.query_tokens.flatten(),
        "to_pairs.weight": torch.cat(
            [read.cross_attn.k_proj.weight, read.cross_attn.v_proj.weight]
        ),
        "to_pairs.bias": torch.cat([read.cross_attn.k_proj.bias, read.cross_attn.v_proj.bias]),
        **named("to_query", read.cross_attn.q_proj),
        **named("norm1", read.layer_norm1),
        **named("norm2", read.layer_norm2),
        **named("mlp.0", read.mlp.fc1),
        **named("mlp.2", read.mlp.fc2),
        **named("classify", probe.classify),
    }
    for number, layer in enumerate(theirs.self_attention_layers):
        attention = layer.self_attn
        parts = [attention.q_proj, attention.k_proj, attention.v_proj]
        own = f"blocks.{number}"
        state |= {
            f"{own}.attention.qkv.weight": torch.cat([part.weight for part in parts]),
            f"{own}.attention.qkv.bias": torch.cat([part.bias for part in parts]),
            **named(f"{own}.attention.project", attention.out_proj),
            **named(f"{own}.norm1", layer.layer_norm1),
            **named(f"{own}.norm2", layer.layer_norm2),
            **named(f"{own}.mlp.0", layer.mlp.fc1),
            **named(f"{own}.mlp.2", layer.mlp.fc2),
        }
    probe.load_state_dict(state)
    tokens = torch.randn(3, 7, 24)
    torch.testing.assert_close(probe.pool(tokens), theirs(tokens), atol=1e-4, rtol=1e-4)
    flat = tokens.transpose(1, 2).flatten(1)
    torch.testing.assert_close(probe(flat), probe.classify(theirs(tokens)), atol=1e-4, rtol=1e-4)
    both = torch.cat([tokens[:, :4].transpose(1, 2).flatten(1)] * 2, 1)
    probe.maps = 2  # two maps, one after the other, are twice as many positions
    twice = torch.cat([tokens[:, :4]] * 2, 1)
    torch.testing.assert_close(probe(both), probe.classify(probe.pool(twice)))


def named(name, module):
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def one_place(weights, look, reading):
    """One position shows the class, if asked as the run; an average hides it in the noise."""
    assert reading.pool == "flatten"
    random = np.random.default_rng([*look.video.path.encode()])
    maps = random.normal(size=(len(look.frames), WIDTH, PLACES))
    if weights == "run":
        for clip in maps:
            clip[:, random.integers(PLACES)] = 4 * np.eye(WIDTH)[int(look.video.label)]
    return maps.reshape(len(maps), -1)


def averaged(weights, look, reading):
    features = one_place(weights, look, type(reading)("conv5", "flatten"))
    return features.reshape(len(features), WIDTH, PLACES).mean(2)


def toy(answer):
    parts = {"train": labelled("train", 30), "test": labelled("test", 20)}
    return MadeUpStudy(answer, taps={"conv5": WIDTH, "pool5": WIDTH}, **parts)


def test_a_query_finds_what_averages_hide():
    report = attentive(toy(one_place))
    run, random = report.rows
    assert run["accuracy"] > 0.9
    assert random["accuracy"] < 0.6
    assert set(report.chances) == {"accuracy", "mean_class_accuracy", "clip_accuracy"}
    assert (report.facts["tap"], report.facts["heads"]) == ("conv5", 2)
    probe = Linear(name="linear", penalties=[0.1]).build()(toy(averaged))
    assert run["accuracy"] > probe.rows[0]["accuracy"] + 0.2


def test_channels_are_divided_among_heads():
    with pytest.raises(UsageError, match=r"16 channels of conv5 .* 3 heads") as raised:
        attentive(toy(one_place), {"heads": 3})
    assert raised.value.hint == "--set pooler.heads=8"


def test_a_vector_is_one_position():
    clouds = MadeUpStudy(train=labelled("train", 20), test=labelled("test", 10))
    run, random = attentive(clouds, tap="pool5").rows
    assert run["accuracy"] == 1
    assert random["accuracy"] < 0.7
