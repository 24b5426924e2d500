"""Writes the reference in recipes.md from the models themselves: python docs/recipe_reference.py.

tests/test_docs.py fails if the page is not what this would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vidssl_cli.config import sections
from vidssl_cli.config.load import KINDS
from vidssl_cli.contract.loading import BASES
from vidssl_cli.contract.registry import registry
from vidssl_plugins.backbones.options.shared import BatchNorm
from vidssl_plugins.backbones.options.tgn import TGN
from vidssl_plugins.evaluators.options.shared import FC, Pooler
from vidssl_plugins.samplers.options.curriculum_pacing import (
    ConstantPacing,
    FixedExponentialPacing,
    SinglePacing,
    VariedExponentialPacing,
)

PAGE = Path(__file__).parent / "recipes.md"
MARK = "<!-- The rest is written by docs/recipe_reference.py. -->\n"

SECTIONS: dict[str, type[BaseModel]] = {
    "input": sections.Input,
    "augment": sections.Augment,
    "augment.crop": sections.ResizedCrop,
    "augment.colour": sections.Colour,
    "augment.blur": sections.Blur,
    "train": sections.Train,
    "train.optimizer: {name: sgd}": sections.SGD,
    "train.optimizer: {name: adamw}": sections.AdamW,
    "train.schedule: {name: constant}": sections.Constant,
    "train.schedule: {name: step}": sections.Step,
    "train.schedule: {name: multistep}": sections.MultiStep,
    "train.schedule: {name: cosine}": sections.Cosine,
    "evaluation": sections.Evaluation,
    "evaluation (finetune)": sections.ClassifierEvaluation,
    "fc": FC,
    "pooler": Pooler,
    "backbone.norm: {name: bn}": BatchNorm,
    "backbone.norm: {name: tgn}": TGN,
    "sampler.pacing: {name: single}": SinglePacing,
    "sampler.pacing: {name: fixed_exponential}": FixedExponentialPacing,
    "sampler.pacing: {name: varied_exponential}": VariedExponentialPacing,
    "sampler.pacing: {name: constant}": ConstantPacing,
}
"""Where a section stands in a recipe, and its model."""


def page() -> str:
    """Return the page with a fresh reference."""
    text = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    return text + MARK + "".join(f"\n{part}\n" for part in reference())


def reference() -> Iterator[str]:
    """Yield headings, sentences and tables."""
    for task, kind in KINDS.items():
        yield f"## Recipes for `vidssl {task}`"
        yield from describe(kind)
    yield "## Sections"
    for where, model in SECTIONS.items():
        yield f"### `{where}`"
        yield from describe(model)
    yield "## Built-in plugins"
    for plugins in BASES:
        for name, options in registry().offered(plugins).items():
            if options.__module__.startswith("vidssl_plugins."):
                yield f"### {plugins} `{name}`"
                yield from describe(options)


def describe(model: type[BaseModel]) -> Iterator[str]:
    """Yield a model's docstring and a table of its keys."""
    schema = model.model_json_schema()
    if "$ref" in schema:  # a model that may hold itself
        schema |= schema["$defs"][schema["$ref"].split("/")[-1]]
    yield oneline(schema["description"])
    required = schema.get("required", ())
    rows = [
        f"| `{key}` | {values(field)} | {'required' if key in required else default(field)} "
        f"| {meaning(field, schema)} |"
        for key, field in schema["properties"].items()
        if key != "name"  # the heading has it
    ]
    if not rows:
        return
    yield "\n".join(["| key | values | default | meaning |", "| --- | --- | --- | --- |", *rows])


def default(field: dict[str, Any]) -> str:
    """Return a default as a recipe would write it; that of a section is in its own table."""
    value = field.get("default")
    if isinstance(value, dict):
        return f"`{value['name']}`" if "name" in value else "see its table"
    if value is None or isinstance(value, bool):
        return f"`{json.dumps(value)}`"
    if value == "":
        return "empty"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def meaning(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return what a key's docstring says; a section without one has its model's."""
    section = schema.get("$defs", {}).get(field.get("$ref", "").removeprefix("#/$defs/"), {})
    return oneline(field.get("description") or section.get("description", ""))


def values(field: dict[str, Any]) -> str:
    """Say in words what a JSON Schema allows."""
    match field:
        case {"anyOf": [one, {"type": "array", "items": item}]} if item == one:
            return f"{values(one)}, or a list of them"
        case {"anyOf": choices} | {"oneOf": choices}:
            if "discriminator" in field:
                return " or ".join(
                    f"`{name}`" for name in sorted(field["discriminator"]["mapping"])
                )
            return " or ".join(values(choice) for choice in choices)
        case {"enum": words}:
            return ", ".join(f"`{word}`" for word in words)
        case {"const": word}:
            return f"`{word}`"
        case {"$ref": _}:
            return "mapping"
        case {"type": "array", "prefixItems": items}:
            return f"[{', '.join(values(item) for item in items)}]"
        case {"type": "array", "items": item}:
            return f"list of {values(item)}"
        case {"type": "object"}:
            return "mapping"
        case {"type": "null"}:
            return "null"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {field[limit]}" for limit, sign in limits.items() if limit in field]
    return " ".join([field["type"], *bounds])


def oneline(text: str) -> str:
    """Fit a docstring into a cell of a table."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
