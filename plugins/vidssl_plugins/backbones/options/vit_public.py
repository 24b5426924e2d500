"""Public weights for `vit`: VideoMAE, VideoMAE v2 and V-JEPA 2 as Hugging Face publishes them.

A folder of such weights has a `config.json`, which says what network they are for. docs/weights.md
lists the names of the tensors.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.hooks import PublicWeights

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
BLOCK = r"^blocks\.(\d+)\."


def described(config: Mapping[str, Any], names: Collection[str]) -> PublicWeights | None:
    """Return which options published weights ask for, and how they become the network's.

    Args:
        config: the content of their `config.json`.
        names: of the tensors.

    Returns:
        None if they are for another network.

    Raises:
        UsageError: they are for a variant that `vit` does not have.
        KeyError: the configuration lacks a setting.
    """
    kind = str(config.get("model_type"))
    if kind == "videomae":
        return _videomae(config, names)
    if kind.startswith("VideoMAEv2"):
        return _videomae2(config["model_config"])
    return _vjepa2(config) if kind == "vjepa2" else None


def _videomae(config: Mapping[str, Any], names: Collection[str]) -> PublicWeights:
    _require(config, hidden_act="gelu", num_channels=3)
    norms = {name.removeprefix("videomae.") for name in names}
    after = "tokens" if "layernorm.weight" in norms else "none"
    options = {
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "hidden": config["intermediate_size"],
        "tubelet": (config["tubelet_size"], *[config["patch_size"]] * 2),
        "clip": (config["num_frames"], *[config["image_size"]] * 2),
        "final_norm": "mean" if "fc_norm.weight" in norms else after,
        "eps": config["layer_norm_eps"],
    }
    return PublicWeights(
        source="VideoMAE of transformers",
        names=(
            (r"^videomae\.", ""),
            (r"^embeddings\.patch_embeddings\.projection\.", "tubelets."),
            (r"^encoder\.layer\.", "blocks."),
            (BLOCK + r"attention\.attention\.([qv])_bias", r"blocks.\1.attention.\2.bias"),
            (BLOCK + r"attention\.attention\.([qkv])[a-z]*\.", r"blocks.\1.attention.\2."),
            (BLOCK + r"attention\.output\.dense\.", r"blocks.\1.attention.project."),
            (BLOCK + r"intermediate\.dense\.", r"blocks.\1.mlp.0."),
            (BLOCK + r"output\.dense\.", r"blocks.\1.mlp.2."),
            (BLOCK + r"layernorm_before\.", r"blocks.\1.norm1."),
            (BLOCK + r"layernorm_after\.", r"blocks.\1.norm2."),
            (r"^(layernorm|fc_norm)\.", "norm."),
        ),
        left=r"^(mask_token|encoder_to_decoder\.|decoder\.|classifier\.)",
        convert=join_qkv,
        input={"resize": config["image_size"], "crop": config["image_size"], **IMAGENET},
        frames=config["num_frames"],
        options=options,
        stride=4,
    )


def _videomae2(config: Mapping[str, Any]) -> PublicWeights:
    _require(config, in_chans=3, cos_attn=False, use_learnable_pos_emb=False)
    options = {
        "width": config["embed_dim"],
        "depth": config["depth"],
        "heads": config["num_heads"],
        "hidden": int(config["embed_dim"] * config["mlp_ratio"]),
        "tubelet": (config["tubelet_size"], *[config["patch_size"]] * 2),
        "clip": (config["num_frames"], *[config["img_size"]] * 2),
        "final_norm": "mean" if config["use_mean_pooling"] else "tokens",
        "eps": config["layer_norm_eps"],
    }
    return PublicWeights(
        source="VideoMAE v2",
        names=(
            (r"^model\.", ""),
            (r"^patch_embed\.proj\.", "tubelets."),
            (BLOCK + r"attn\.([qv])_bias", r"blocks.\1.attention.\2.bias"),
            (BLOCK + r"attn\.qkv\.", r"blocks.\1.attention.qkv."),
            (BLOCK + r"attn\.proj\.", r"blocks.\1.attention.project."),
            (BLOCK + r"mlp\.fc1\.", r"blocks.\1.mlp.0."),
            (BLOCK + r"mlp\.fc2\.", r"blocks.\1.mlp.2."),
            (r"^fc_norm\.", "norm."),
        ),
        left=r"^(model\.)?(head\.|pos_embed$)",
        convert=join_qkv,
        input={"resize": config["img_size"], "crop": config["img_size"], **IMAGENET},
        frames=config["num_frames"],
        options=options,
        stride=4,
    )


def _vjepa2(config: Mapping[str, Any]) -> PublicWeights:
    _require(config, hidden_act="gelu", in_chans=3)
    side = config["crop_size"]
    options = {
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "hidden": int(config["hidden_size"] * config["mlp_ratio"]),
        "tubelet": (config["tubelet_size"], *[config["patch_size"]] * 2),
        "clip": (config["frames_per_clip"], side, side),
        "positions": "rotary",
        "eps": config["layer_norm_eps"],
    }
    return PublicWeights(
        source="V-JEPA 2 of transformers",
        names=(
            (r"^(vjepa2\.)?encoder\.", ""),
            (r"^embeddings\.patch_embeddings\.proj\.", "tubelets."),
            (r"^layer\.", "blocks."),
            (BLOCK + r"attention\.([qkv])[a-z]*\.", r"blocks.\1.attention.\2."),
            (BLOCK + r"attention\.proj\.", r"blocks.\1.attention.project."),
            (BLOCK + r"mlp\.fc1\.", r"blocks.\1.mlp.0."),
            (BLOCK + r"mlp\.fc2\.", r"blocks.\1.mlp.2."),
            (r"^layernorm\.", "norm."),
        ),
        left=r"^(vjepa2\.)?predictor\.|^(pooler|classifier)\.",
        convert=join_qkv,
        input={"resize": int(side * 256 / 224), "crop": side, **IMAGENET},
        frames=config["frames_per_clip"],
        options=options,
        stride=4,
    )


def _require(config: Mapping[str, Any], **settings: Any) -> None:
    """Refuse a variant that would be computed differently."""
    for key, value in settings.items():
        if (found := config.get(key, value)) != value:
            raise UsageError(f"config.json has {key} {found!r}; the backbone vit has {value!r}")


def join_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join queries, keys and values of each block, in this order; a bias that is absent is 0."""
    import torch

    joined = dict(tensors)
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    for attention in (f"blocks.{number}.attention" for number in blocks):
        if f"{attention}.q.weight" in joined:
            parts = [joined.pop(f"{attention}.{part}.weight") for part in "qkv"]
            joined[f"{attention}.qkv.weight"] = torch.cat(parts)
        if f"{attention}.qkv.bias" not in joined:
            width = joined[f"{attention}.project.bias"]
            biases = [joined.pop(f"{attention}.{p}.bias", torch.zeros_like(width)) for p in "qkv"]
            joined[f"{attention}.qkv.bias"] = torch.cat(biases)
    return joined
