"""Weights that Hugging Face publishes compute here what transformers' own modules compute."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from public_weights import described, folder, tiny
from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.cli import app, failures
from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.import_weights import import_weights
from vidssl_cli.model.learner import encode
from vidssl_cli.model.public_files import download
from vidssl_plugins.backbones.options.vit_public import join_qkv
from vidssl_plugins.pretexts.hooks import MaskedPixels

CLIPS = (2, 3, 4, 32, 32)
VIDEOMAE = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "image_size": 32,
    "num_frames": 4,
    "patch_size": 8,
    "decoder_num_hidden_layers": 1,
    "decoder_hidden_size": 24,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 96,
}
VJEPA2 = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "mlp_ratio": 48 / 11,
    "crop_size": 32,
    "frames_per_clip": 4,
    "patch_size": 8,
    "pred_hidden_size": 24,
    "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 1,
}


@pytest.fixture
def transformers():
    return pytest.importorskip("transformers", exc_type=ImportError)


def randomised(model):
    """Give every tensor values, biases and norms too, so that each counts in the result."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


def encoder(folder, out, **given):
    import_weights(folder, None, out, **given)
    return Encoder.load(out, "cpu")


def computed(encoder, clips):
    with torch.inference_mode():
        return encoder.backbone(clips)


def agree(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mean_pooling", [True, False])
@pytest.mark.parametrize("head", ["VideoMAEModel", "VideoMAEForPreTraining"])
def test_videomae(head, mean_pooling, transformers, tmp_path):
    config = transformers.VideoMAEConfig(**VIDEOMAE, use_mean_pooling=mean_pooling)
    model = randomised(getattr(transformers, head)(config))
    model.save_pretrained(tmp_path / "hub")
    ours = encoder(tmp_path / "hub", tmp_path / "out")
    assert ours.card.backbone.final_norm == ("none" if mean_pooling else "tokens")
    clips = torch.randn(CLIPS)
    with torch.inference_mode():
        encoding = getattr(model, "videomae", model)
        expected = encoding(clips.transpose(1, 2)).last_hidden_state
    taps = computed(ours, clips)
    agree(taps["conv5"].flatten(2).transpose(1, 2), expected)
    agree(taps["feat"], expected.mean(1))


def test_videomae_after_fine_tuning(transformers, tmp_path):
    config = transformers.VideoMAEConfig(**VIDEOMAE, num_labels=5)
    model = randomised(transformers.VideoMAEForVideoClassification(config))
    model.save_pretrained(tmp_path / "hub")
    ours = encoder(tmp_path / "hub", tmp_path / "out")
    assert ours.card.backbone.final_norm == "mean"
    clips = torch.randn(CLIPS)
    with torch.inference_mode():
        expected = model(clips.transpose(1, 2)).logits
        agree(model.classifier(ours.backbone(clips)["feat"]), expected)


def as_first_published(tensors):
    """Biases of queries and values under the names that the hub's files have."""
    return {
        name.replace("attention.attention.query.bias", "attention.attention.q_bias").replace(
            "attention.attention.value.bias", "attention.attention.v_bias"
        ): tensor
        for name, tensor in tensors.items()
    }


def test_videomae_under_the_names_of_older_files(transformers, tmp_path):
    config = transformers.VideoMAEConfig(**VIDEOMAE, use_mean_pooling=False)
    model = randomised(transformers.VideoMAEModel(config))
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/config.json").write_text(json.dumps(config.to_dict()))
    torch.save(as_first_published(model.state_dict()), tmp_path / "hub/pytorch_model.bin")
    clips = torch.randn(CLIPS)
    with torch.inference_mode():
        expected = model(clips.transpose(1, 2)).last_hidden_state.mean(1)
    agree(computed(encoder(tmp_path / "hub", tmp_path / "out"), clips)["feat"], expected)


def videomae2(model, config):
    """The same weights as VideoMAE v2 publishes them: one tensor for queries, keys and values."""
    tensors, found = model.state_dict(), {}
    for name, tensor in as_first_published(tensors).items():
        for old, new in {
            "embeddings.patch_embeddings.projection": "patch_embed.proj",
            "encoder.layer": "blocks",
            "attention.attention.q_bias": "attn.q_bias",
            "attention.attention.v_bias": "attn.v_bias",
            "attention.output.dense": "attn.proj",
            "intermediate.dense": "mlp.fc1",
            "output.dense": "mlp.fc2",
            "layernorm_before": "norm1",
            "layernorm_after": "norm2",
            "layernorm": "norm",
        }.items():
            name = name.replace(old, new)
        if "attention.attention" not in name:
            found[f"model.{name.replace('norm.', 'fc_norm.') if name[:4] == 'norm' else name}"] = (
                tensor
            )
    for number in range(config.num_hidden_layers):
        old = f"encoder.layer.{number}.attention.attention"
        parts = [tensors[f"{old}.{part}.weight"] for part in ("query", "key", "value")]
        found[f"model.blocks.{number}.attn.qkv.weight"] = torch.cat(parts)
    described = {
        "img_size": config.image_size,
        "patch_size": config.patch_size,
        "in_chans": 3,
        "embed_dim": config.hidden_size,
        "depth": config.num_hidden_layers,
        "num_heads": config.num_attention_heads,
        "mlp_ratio": config.intermediate_size / config.hidden_size,
        "layer_norm_eps": 1e-6,
        "use_learnable_pos_emb": False,
        "tubelet_size": 2,
        "use_mean_pooling": True,
        "num_frames": config.num_frames,
        "cos_attn": False,
    }
    return found, {"model_type": "VideoMAEv2_Base", "model_config": described}


def test_videomae_2(transformers, tmp_path):
    """Its code is no part of transformers: VideoMAE with the norm behind the average."""
    config = transformers.VideoMAEConfig(
        **VIDEOMAE | {"intermediate_size": 192}, use_mean_pooling=False, layer_norm_eps=1e-6
    )
    model = randomised(transformers.VideoMAEModel(config))
    tensors, described = videomae2(model, config)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/config.json").write_text(json.dumps(described))
    save_file(tensors, tmp_path / "hub/model.safetensors")
    clips = torch.randn(CLIPS)
    norm, model.layernorm = model.layernorm, torch.nn.Identity()
    with torch.inference_mode():
        expected = norm(model(clips.transpose(1, 2)).last_hidden_state.mean(1))
    agree(computed(encoder(tmp_path / "hub", tmp_path / "out"), clips)["feat"], expected)
    described["model_config"]["cos_attn"] = True
    (tmp_path / "hub/config.json").write_text(json.dumps(described))
    with pytest.raises(UsageError, match="cos_attn True"):
        import_weights(tmp_path / "hub", None, tmp_path / "other")


@pytest.mark.parametrize("head", ["VJEPA2Model", "VJEPA2ForVideoClassification"])
def test_vjepa2(head, transformers, tmp_path):
    config = transformers.VJEPA2Config(**VJEPA2)
    model = randomised(getattr(transformers, head)(config))
    model.save_pretrained(tmp_path / "hub")
    ours = encoder(tmp_path / "hub", tmp_path / "out")
    encoding = getattr(model, "vjepa2", model)
    for frames in (4, 8):  # rotary positions need no table
        clips = torch.randn(2, 3, frames, 32, 32)
        with torch.inference_mode():
            given = clips.transpose(1, 2)
            expected = encoding(given, skip_predictor=True).last_hidden_state
        taps = computed(ours, clips)
        agree(taps["conv5"].flatten(2).transpose(1, 2), expected)
        agree(taps["feat"], expected.mean(1))


def test_vjepa2_sees_the_same_where_tokens_are_left_out(transformers, tmp_path):
    """Places are those of the tokens that stay: the attention of transformers has a mask for it."""
    config = transformers.VJEPA2Config(**VJEPA2)
    model = randomised(transformers.VJEPA2Model(config))
    model.save_pretrained(tmp_path / "hub")
    ours = encoder(tmp_path / "hub", tmp_path / "out")
    clips = torch.randn(1, 3, 4, 32, 32)
    keep = torch.tensor([[3, 8, 20, 31]])
    with torch.inference_mode():
        x = model.encoder.embeddings(clips.transpose(1, 2))[:, keep[0]]
        for layer in model.encoder.layer:
            x = layer(x, position_mask=keep)
            x = x[0] if isinstance(x, tuple) else x
        agree(ours.backbone(clips, keep)["tokens"], model.encoder.layernorm(x))


def test_masked_pixels_has_the_loss_of_videomae(transformers, tmp_path):
    """The decoder and the targets, from the same weights and the same mask."""
    config = transformers.VideoMAEConfig(**VIDEOMAE, use_mean_pooling=False, norm_pix_loss=True)
    model = randomised(transformers.VideoMAEForPreTraining(config))
    model.save_pretrained(tmp_path / "hub")
    network = encoder(tmp_path / "hub", tmp_path / "out").backbone
    context = PretextContext(48, network.taps, {}, 1, 2, network, encode_32)
    options = MaskedPixels(name="masked_pixels", width=24, depth=1, heads=2, ratio=0.75)
    task = options.build(context)
    task.decoder.load_state_dict(decoder(model))
    clips = torch.randn(CLIPS)
    torch.manual_seed(1)
    _, masked = task.split(2, (2, 4, 4), clips.device)
    mask = torch.zeros(2, 32, dtype=torch.bool).scatter_(1, masked, True)
    torch.manual_seed(1)
    batch = Batch(clips[:, None], {}, torch.arange(2), torch.empty(0))
    with torch.inference_mode():
        expected = model(clips.transpose(1, 2), bool_masked_pos=mask).loss
        agree(task({}, batch)[0]["loss"], expected)


def encode_32(network, clips, keep):
    return encode(network, clips, torch.float32, keep)


def decoder(model):
    """Return the weights of transformers' decoder of one block under our names."""
    block = "decoder.decoder_layers.0."
    names = {
        "encoder_to_decoder.": "enter.",
        "decoder.norm.": "norm.",
        "decoder.head.": "leave.",
        f"{block}attention.output.dense.": "blocks.0.attention.project.",
        f"{block}intermediate.dense.": "blocks.0.mlp.0.",
        f"{block}output.dense.": "blocks.0.mlp.2.",
        f"{block}layernorm_before.": "blocks.0.norm1.",
        f"{block}layernorm_after.": "blocks.0.norm2.",
        f"{block}attention.attention.query.": "blocks.0.attention.q.",
        f"{block}attention.attention.key.": "blocks.0.attention.k.",
        f"{block}attention.attention.value.": "blocks.0.attention.v.",
    }
    found = {"mask_tokens": model.mask_token.flatten(), "enter.bias": torch.zeros(24)}
    for name, tensor in model.state_dict().items():
        for old, new in names.items():
            if name.startswith(old):
                found[name.replace(old, new)] = tensor
    return join_qkv(found)


def test_the_card_says_what_they_were_trained_to_see(transformers, tmp_path):
    model = transformers.VideoMAEModel(transformers.VideoMAEConfig(**VIDEOMAE))
    model.save_pretrained(tmp_path / "hub")
    (tmp_path / "hub/README.md").write_text('---\nlicense: "cc-by-nc-4.0"\ntags:\n- x\n---\n# A\n')
    card = encoder(tmp_path / "hub", tmp_path / "out", frames=8).card
    assert (card.input.resize, card.input.crop, card.frames) == (32, 32, 8)
    assert card.input.mean == (0.485, 0.456, 0.406)
    assert card.evaluation.stride == 4
    assert card.licence == "cc-by-nc-4.0"
    assert card.origin.startswith("VideoMAE of transformers: model.safetensors, SHA-256 ")


TENSOR = {"x": torch.zeros(1)}


@pytest.mark.parametrize(
    ("config", "tensors", "error", "told"),
    [
        (None, None, UsageError, r"has no \*\.safetensors and no config\.json"),
        ({}, None, UsageError, r"has no \*\.safetensors$"),
        ({"model_type": "bert"}, TENSOR, UsageError, "model_type 'bert'"),
        ("[1]", TENSOR, DamagedFileError, "is no mapping"),
        ("{", TENSOR, DamagedFileError, "is no JSON"),
        ({"model_type": "videomae"}, TENSOR, DamagedFileError, "lacks the setting 'hidden_size'"),
        ({"model_type": "vjepa2", "hidden_act": "relu"}, TENSOR, UsageError, "hidden_act 'relu'"),
    ],
)
def test_folders_that_cannot_be_used(config, tensors, error, told, tmp_path):
    with pytest.raises(error, match=told):
        import_weights(folder(tmp_path, config, tensors), None, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_does_not_say_what_it_is_for(tmp_path):
    file = folder(tmp_path, {}, TENSOR) / "model.safetensors"
    with pytest.raises(UsageError, match="does not say which network") as found:
        import_weights(file, None, tmp_path / "out")
    assert "mc3, r2plus1d, r3d, s3dg" in found.value.hint


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "17 of 17 tensors .*project.bias is missing"),
        ({"num_attention_heads": 5}, "cannot be used for vit: .*5 heads"),
        ({"hidden_size": "wide"}, "cannot be used for vit"),
        ({"hidden_size": 60_000, "num_hidden_layers": 900}, "much larger than its weights"),
    ],
)
def test_descriptions_that_do_not_fit_the_weights(settings, told, tmp_path):
    with pytest.raises(DamagedFileError, match=told):
        import_weights(folder(tmp_path, described(**settings), TENSOR), None, tmp_path / "out")


def test_the_command_takes_a_folder(tmp_path, capfd):
    line = ["import", str(tiny(tmp_path)), "--out", str(tmp_path / "out")]
    assert failures.run(app, line) == 0
    out, said = capfd.readouterr()
    assert out == f"{tmp_path / 'out'}\n"
    assert "V-JEPA 2 of transformers: all 16 tensors of vit are there" in said
    assert "left out: predictor.proj.bias" in said
    assert "licence of the weights: not told with the weights" in said
    assert len(load_file(tmp_path / "out/model.safetensors")) == 16


def test_the_command_downloads(tmp_path, capfd, monkeypatch):
    source = tiny(tmp_path)
    (source / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    asked = []
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(source, asked))
    line = ["import", "--hub", "facebook/tiny@v1", "--out", str(tmp_path / "out"), "--json"]
    assert failures.run(app, line) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["licence"] == "apache-2.0"
    assert found["backbone"] == "vit"
    assert asked == [("facebook/tiny", "v1", ["config.json", "README.md", "*.safetensors"])]


class Hub:
    """What `download` uses of huggingface_hub."""

    def __init__(self, answer, asked):
        self.answer, self.asked = answer, asked

    def snapshot_download(self, name, *, revision, allow_patterns, ignore_patterns):
        assert ignore_patterns == ["*/*"]
        self.asked.append((name, revision, allow_patterns))
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def test_without_a_network(monkeypatch):
    error = OSError("no route\nto host")
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(error, []))
    with pytest.raises(
        VidsslError, match="a/b cannot be downloaded: OSError: no route to host"
    ) as e:
        download("a/b")
    assert "give that in place of --hub" in e.value.hint


def test_a_repository_without_weights(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(tmp_path, asked))
    with pytest.raises(UsageError, match=r"a/b has no \*\.safetensors and no pytorch_model\.bin"):
        download("a/b")
    assert [patterns[-1] for _, _, patterns in asked] == ["*.safetensors", "pytorch_model*.bin"]


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match="--hub needs huggingface_hub") as found:
        download("a/b")
    assert "vidssl[hub]" in found.value.hint


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ([], "give either FILE or --hub NAME"),
        (["weights.pth", "--hub", "a/b"], "give either FILE or --hub NAME"),
        (["a.pth", "--backbone", "vit"], "no published weights are known for the backbone vit"),
        (["weights.pth", "--set", "depth=1"], "--set needs --backbone"),
    ],
)
def test_the_command_line(line, told, tmp_path, capfd):
    assert failures.run(app, ["import", *line, "--out", str(tmp_path / "out")]) == 2
    assert told in capfd.readouterr().err
