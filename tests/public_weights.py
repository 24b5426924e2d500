"""Folders of published weights, as transformers saves them, made without transformers."""

import json

import torch
from safetensors.torch import save_file


def folder(tmp_path, config=None, tensors=None):
    """A folder of weights; what is not given is absent."""
    (tmp_path / "hub").mkdir()
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "hub/config.json").write_text(text)
    if tensors is not None:
        save_file(tensors, tmp_path / "hub/model.safetensors")
    return tmp_path / "hub"


def described(**settings):
    return {
        "model_type": "vjepa2",
        "hidden_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "tubelet_size": 2,
        "patch_size": 8,
        "crop_size": 32,
        "frames_per_clip": 4,
        "layer_norm_eps": 1e-6,
        **settings,
    }


def tiny(tmp_path):
    """A whole folder of V-JEPA 2, made without transformers."""
    d, block = 12, "encoder.layer.0."
    square = {f"{block}attention.{p}": (d, d) for p in ("query", "key", "value", "proj")}
    shapes = {"encoder.embeddings.patch_embeddings.proj": (d, 3, 2, 8, 8), **square}
    shapes |= {f"{block}mlp.fc1": (2 * d, d), f"{block}mlp.fc2": (d, 2 * d)}
    shapes |= {f"{block}norm1": (d,), f"{block}norm2": (d,), "encoder.layernorm": (d,)}
    tensors = {f"{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    tensors["predictor.proj.bias"] = torch.zeros(3)
    return folder(tmp_path, described(), tensors)
