"""Every shipped recipe, built at toy size: a step of what it describes has a finite loss."""

import pytest
import torch

from vidssl_cli.config import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import Input
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.testing import noise_batch
from vidssl_plugins.samplers.hooks import Curriculum

VIDEOS = 4
SIDE = 32
WIDTH = 8
FRAMES = 16

RECIPES = {name: load.load(name) for name in load.names()}
PRETRAIN = sorted(n for n, recipe in RECIPES.items() if isinstance(recipe, PretrainRecipe))


def toy(recipe):
    """Shrink what costs time and keep what makes the method."""
    settings = Input(resize=(36, 48), crop=SIDE, mode=recipe.input.mode)
    backbone = recipe.backbone
    if "width" in type(backbone).model_fields:
        backbone = backbone.model_copy(update={"width": WIDTH})
    if "cells" in type(backbone).model_fields:
        backbone = backbone.model_copy(update={"cells": (1, 1, 1)})
    if "tubelet" in type(backbone).model_fields:
        backbone = backbone.model_copy(update={"tubelet": (2, 4, 4), "heads": None})
    sampler = recipe.sampler
    if isinstance(sampler, Curriculum):  # which orders videos and changes no clip
        sampler = sampler.sampler
    if sampler.frames > FRAMES:
        sampler = sampler.model_copy(update={"frames": FRAMES})
    return recipe.model_copy(update={"input": settings, "backbone": backbone, "sampler": sampler})


@pytest.mark.parametrize("name", PRETRAIN)
def test_a_step_at_toy_size(name):
    torch.manual_seed(0)
    recipe = toy(RECIPES[name])
    learner = PretrainLearner(recipe, VIDEOS)
    loss, values = learner(
        noise_batch(recipe.sampler, VIDEOS, SIDE, recipe.streams()), torch.float32
    )
    loss.backward()
    assert loss.isfinite()
    assert any(key.endswith(("accuracy", "explained")) for key in values)
    gradients = [p.grad for p in learner.backbone.parameters() if p.requires_grad]
    assert any(gradient is not None and gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", [name for name in PRETRAIN if name.startswith("papers/")])
def test_a_recipe_of_a_paper_names_what_was_published(name):
    assert RECIPES[name].published
