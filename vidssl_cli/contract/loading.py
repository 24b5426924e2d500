"""Loads what one entry point offers; whatever it raises is left to the caller."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Timer
from typing import Any, Literal, get_args, get_origin

import pluggy

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import PluginError
from vidssl_cli.contract import hooks
from vidssl_cli.contract.entry_points import DISABLE, OURS

Kind = Literal["backbone", "sampler", "pretext", "evaluator", "decoder", "logger"]

BASES: Mapping[Kind, type[hooks.Options]] = {
    "backbone": hooks.BackboneOptions,
    "sampler": hooks.SamplerOptions,
    "pretext": hooks.PretextOptions,
    "evaluator": hooks.EvaluatorOptions,
    "decoder": hooks.DecoderOptions,
    "logger": hooks.LoggerOptions,
}
"""What the models of each kind must derive from."""
NAME = re.compile(r"\w[\w.+-]*")
"""What a recipe may write as a name, and what is safe to print."""
SLOW = 5.0
"""Seconds that a package may take to load before a warning names it."""


@dataclass(frozen=True)
class Claim:
    """A package's claim to a name."""

    kind: Kind
    name: str
    address: str
    """``distribution:entry point``."""
    model: type[hooks.Options]

    @property
    def package(self) -> str:
        """The distribution, as pip names it."""
        return self.address.partition(":")[0]


@dataclass(frozen=True)
class Offers:
    """What one entry point offers."""

    claims: list[Claim]
    recipes: list[Path]
    """Folders of recipes."""
    published: list[Path]
    """Folders of published figures."""


def load(entry: EntryPoint, address: str, package: str) -> Offers:
    """Import an entry point and ask it what it offers.

    Args:
        entry: What a package lists.
        address: ``distribution:entry point``.
        package: The distribution.

    Raises:
        BaseException: Importing a plugin may raise anything; `PluginError` where it offers nothing
            that can be used.
    """
    with _watched(package):
        # A manager of its own: neither a misspelt nor a raising hook takes other packages along.
        manager = pluggy.PluginManager(OURS)
        manager.add_hookspecs(hooks)
        plugin = entry.load()
        manager.register(plugin, address)
        manager.check_pending()
        callers = manager.get_hookcallers(plugin)
        if not callers:
            raise PluginError(f"{entry.value} has no function marked with @hookimpl")
        marked = {caller.name for caller in callers}
        if unmarked := sorted((vars(manager.hook).keys() & vars(plugin).keys()) - marked):
            raise PluginError(f"{entry.value}.{unmarked[0]} is not marked with @hookimpl")
        found: dict[str, list[Any]] = {}
        for caller in callers:
            if not (given := caller()):  # pluggy leaves out None
                raise PluginError(f"{caller.name} returns None, not a list")
            for batch in given:
                if isinstance(batch, str) or not isinstance(batch, Iterable):
                    raise PluginError(f"{caller.name} returns {batch!r}, not a list")
            found[caller.name] = [offer for batch in given for offer in batch]
        return Offers(
            [
                Claim(kind, name, address, model)
                for kind in BASES
                for model in found.get(f"vidssl_{kind}s", ())
                for name in _names(model, kind)
            ],
            _folders(found, "vidssl_recipes"),
            _folders(found, "vidssl_published"),
        )


@contextmanager
def _watched(package: str) -> Iterator[None]:
    """Warn if loading takes long, and send to stderr what the package prints."""
    waiting = f"waiting for the plugins of {package} to load; {DISABLE}={package} leaves them out"
    timer = Timer(SLOW, warn, [waiting])
    timer.daemon = True
    if package != OURS:
        timer.start()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        timer.cancel()


def _folders(found: Mapping[str, list[Any]], hook: str) -> list[Path]:
    """Return the folders that a hook offers."""
    folders = [Path(offer) for offer in found.get(hook, ())]
    for folder in folders:
        if not folder.is_dir():
            raise PluginError(f"{hook} offers {str(folder)!r}, which is no folder")
    return folders


def _names(model: Any, kind: Kind) -> Iterator[str]:
    """Yield what a recipe may write to choose the model."""
    base = BASES[kind]
    if not (isinstance(model, type) and issubclass(model, base)):
        raise PluginError(f"vidssl_{kind}s offers {model!r}, which is no {base.__name__}")
    if not model.__pydantic_fields_complete__:
        model.model_rebuild()  # raises, and says which name is not defined
    annotation = model.model_fields["name"].annotation
    if get_origin(annotation) is not Literal:
        raise PluginError(
            f"{model.__module__}.{model.__name__} must narrow its name: "
            'name: Literal["the word a recipe writes"]'
        )
    for name in get_args(annotation):
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise PluginError(
                f"{model.__module__}.{model.__name__} is named {name!r}; "
                "a name is made of letters, digits, and any of _ . + -"
            )
        yield name
