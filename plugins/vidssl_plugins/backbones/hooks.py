"""The built-in backbones."""

from __future__ import annotations

from vidssl_cli.contract.hooks import BackboneOptions, hookimpl
from vidssl_plugins.backbones.options.c3d import C3D
from vidssl_plugins.backbones.options.c3d_light import C3DLight
from vidssl_plugins.backbones.options.mc3 import MC3
from vidssl_plugins.backbones.options.r2d3d import R2D3D
from vidssl_plugins.backbones.options.r2plus1d import R2Plus1D
from vidssl_plugins.backbones.options.r3d import R3D
from vidssl_plugins.backbones.options.s3dg import S3DG
from vidssl_plugins.backbones.options.vit import ViT


@hookimpl
def vidssl_backbones() -> list[type[BackboneOptions]]:
    """Offer the built-in backbones."""
    return [C3DLight, C3D, R3D, R2Plus1D, R2D3D, MC3, S3DG, ViT]
