"""Finds the installed plugins and answers which names a recipe may write.

Every entry point of the group ``vidssl`` is loaded by itself, so that a broken package is named
and the rest works. The environment variable ``VIDSSL_DISABLE_PLUGINS`` switches plugins off: a
comma-separated list of distributions, or of ``distribution:entry point``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import pluggy
from pydantic import Field

from vidssl_cli import hooks
from vidssl_cli.console import warn
from vidssl_cli.errors import PluginError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

Kind = Literal["backbone", "sampler", "pretext", "evaluator"]

GROUP = "vidssl"
DISABLE = "VIDSSL_DISABLE_PLUGINS"
BASES: Mapping[Kind, type[hooks.Options]] = {
    "backbone": hooks.BackboneOptions,
    "sampler": hooks.SamplerOptions,
    "pretext": hooks.PretextOptions,
    "evaluator": hooks.EvaluatorOptions,
}
"""What the models of each kind must derive from."""


@dataclass(frozen=True)
class PluginInfo:
    """One line of `vidssl plugins`."""

    name: str
    """What a recipe writes; the entry point's name where a package did not come that far."""
    kind: Kind | None
    """None where a package did not come as far as offering something."""
    package: str
    """The distribution, as pip names it."""
    status: Literal["loaded", "failed", "disabled"]
    reason: str | None = None
    """Why it is not loaded."""

    def __str__(self) -> str:
        verb = "was" if self.status == "disabled" else "has"
        return (
            f"{self.kind or 'plugin'} {self.name} of {self.package} "
            f"{verb} {self.status}: {self.reason}"
        )


@dataclass(frozen=True)
class _Claim:
    """A package's claim to a name."""

    kind: Kind
    name: str
    address: str
    """``distribution:entry point``."""
    model: type[hooks.Options]

    @property
    def package(self) -> str:
        return self.address.partition(":")[0]


class Registry:
    """The plugins behind some entry points."""

    def __init__(self, entries: Iterable[EntryPoint], disabled: Collection[str] = ()) -> None:
        """Load the entry points, except those whose package or address is disabled."""
        self.recipe_folders: dict[Path, str] = {}
        """Folders of recipes, each with the package that ships it."""
        self.published_folders: dict[Path, str] = {}
        """The same for published figures."""
        self._claims: list[_Claim] = []
        self._absent: list[PluginInfo] = []
        for entry in entries:
            package = entry.dist.name if entry.dist else entry.value
            address = f"{package}:{entry.name}"
            if package in disabled or address in disabled:
                self._absent.append(
                    PluginInfo(entry.name, None, package, "disabled", f"{DISABLE} names it")
                )
                continue
            try:
                claims, recipes, published = _load(entry, address)
            except (Exception, SystemExit) as error:  # importing a plugin may do anything
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._absent.append(PluginInfo(entry.name, None, package, "failed", reason))
                continue
            self._claims += claims
            self.recipe_folders |= dict.fromkeys(recipes, package)
            self.published_folders |= dict.fromkeys(published, package)

    def offered(self, kind: Kind) -> dict[str, type[hooks.Options]]:
        """Map each name that a recipe may write to its options model, sorted by name.

        A name that is claimed twice is left out, since either choice would surprise somebody.
        """
        return {
            name: claims[0].model
            for name, claims in sorted(self._by_name(kind).items())
            if len(claims) == 1
        }

    def installed(self) -> list[PluginInfo]:
        """List everything that was found, what is not loaded included."""
        return [
            info
            for kind in BASES
            for _, claims in sorted(self._by_name(kind).items())
            for info in _describe(claims)
        ] + sorted(self._absent, key=lambda info: (info.package, info.name))

    def absent(self) -> list[PluginInfo]:
        """List what was found but is not loaded."""
        return [info for info in self.installed() if info.status != "loaded"]

    def _by_name(self, kind: Kind) -> dict[str, list[_Claim]]:
        claims: dict[str, list[_Claim]] = {}
        for claim in self._claims:
            if claim.kind == kind:
                claims.setdefault(claim.name, []).append(claim)
        return claims


def _load(entry: EntryPoint, address: str) -> tuple[list[_Claim], list[Path], list[Path]]:
    """Ask one entry point what it offers; whatever it raises is the caller's to report."""
    # A manager of its own: neither a misspelt nor a raising hook takes other packages along.
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    plugin = entry.load()
    manager.register(plugin, address)
    manager.check_pending()
    if not manager.get_hookcallers(plugin):
        raise PluginError(f"{entry.value} has no function marked with @hookimpl")
    claims = [
        _Claim(kind, name, address, model)
        for kind in BASES
        for batch in getattr(manager.hook, f"vidssl_{kind}s")()
        for model in batch
        for name in _names(model, kind)
    ]
    recipes, published = (
        [Path(folder) for batch in hook() for folder in batch]
        for hook in (manager.hook.vidssl_recipes, manager.hook.vidssl_published)
    )
    return claims, recipes, published


def _names(model: Any, kind: Kind) -> Iterator[str]:
    """Yield what a recipe may write to choose the model."""
    base = BASES[kind]
    if not (isinstance(model, type) and issubclass(model, base)):
        raise PluginError(f"vidssl_{kind}s offers {model!r}, which is no {base.__name__}")
    annotation = model.model_fields["name"].annotation
    if get_origin(annotation) is not Literal:
        raise PluginError(
            f"{model.__module__}.{model.__name__} must narrow its name: "
            'name: Literal["the word a recipe writes"]'
        )
    yield from get_args(annotation)


def _describe(claims: list[_Claim]) -> Iterator[PluginInfo]:
    for claim in claims:
        if len(claims) == 1:
            yield PluginInfo(claim.name, claim.kind, claim.package, "loaded")
        else:
            rivals = " and ".join(sorted(each.address for each in claims))
            reason = f"{rivals} both claim this name; {DISABLE}=PACKAGE switches one off"
            yield PluginInfo(claim.name, claim.kind, claim.package, "failed", reason)


@functools.cache
def registry() -> Registry:
    """Return the plugins of this installation; warn once about those that failed to load."""
    disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",")}
    found = Registry(entry_points(group=GROUP), disabled)
    for info in found.absent():
        if info.status == "failed":
            warn(str(info))
    return found


def offered(kind: Kind) -> dict[str, type[hooks.Options]]:
    """Map each installed plugin's name to its options model.

    Raises:
        PluginError: if there is none.
    """
    models = registry().offered(kind)
    if not models:
        reasons = "; ".join(map(str, registry().absent()))
        raise PluginError(
            f"no installed plugin offers a {kind}",
            where=kind,
            hint=reasons or "install vidssl again: its own plugins are missing",
        )
    return models


def installed() -> list[PluginInfo]:
    """List every plugin that was found, what is not loaded included."""
    return registry().installed()


class Offered:
    """Annotates a recipe's field: the installed plugin of this kind that ``name`` picks."""

    def __init__(self, kind: Kind) -> None:
        """Remember the kind; plugins are looked for when the first recipe is checked."""
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Build the schema of a union of all offered models, tagged by ``name``."""
        models = tuple(offered(self.kind).values())
        return handler.generate_schema(Annotated[Union[models], Field(discriminator="name")])  # noqa: UP007
