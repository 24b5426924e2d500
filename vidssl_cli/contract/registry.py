"""Finds the installed plugins and answers which names a recipe may write.

Every entry point of the group ``vidssl`` is loaded by itself, so that a broken package is named
and the rest works. The environment variable ``VIDSSL_DISABLE_PLUGINS`` switches plugins off: a
comma-separated list of distributions, or of ``distribution:entry point``; ``*`` stands for all
distributions but vidssl itself.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import pluggy
from pydantic import Field

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import PluginError
from vidssl_cli.base.signals import Stopped
from vidssl_cli.contract import hooks
from vidssl_cli.contract.entry_points import DISABLE, OTHERS, OURS, find_entries, package_of

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

Kind = Literal["backbone", "sampler", "pretext", "evaluator"]

SLOW = 5.0
"""Seconds that a package may take to load before it is told whom everybody waits for."""
BASES: Mapping[Kind, type[hooks.Options]] = {
    "backbone": hooks.BackboneOptions,
    "sampler": hooks.SamplerOptions,
    "pretext": hooks.PretextOptions,
    "evaluator": hooks.EvaluatorOptions,
}
"""What the models of each kind must derive from."""
NAME = re.compile(r"\w[\w.+-]*")
"""What a recipe may write as a name, and what is safe to print."""


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

    def __init__(
        self,
        entries: Iterable[EntryPoint],
        disabled: Collection[str] = (),
        broken: Mapping[str, str] | None = None,
    ) -> None:
        """Load entry points.

        Args:
            entries: what packages list.
            disabled: packages and addresses to leave alone.
            broken: what is known to be broken, by package or address, with the reason.
        """
        self.recipe_folders: dict[Path, str] = {}
        """Folders of recipes, each with the package that ships it."""
        self.published_folders: dict[Path, str] = {}
        """The same for published figures."""
        self.modules: dict[str, str] = {}
        """Top-level modules of other packages' plugins, each with its package."""
        self._claims: list[_Claim] = []
        self._absent: list[PluginInfo] = []
        reasons = dict(broken or {})
        for entry in entries:
            package = package_of(entry)
            address = f"{package}:{entry.name}"
            if off := _switched_off(package, address, disabled):
                self._absent.append(PluginInfo(entry.name, None, package, "disabled", off))
                continue
            if reason := reasons.pop(address, None):
                self._absent.append(PluginInfo(entry.name, None, package, "failed", reason))
                continue
            try:
                with _announced(package):
                    claims, recipes, published = _load(entry, address)
            except (KeyboardInterrupt, Stopped):
                raise
            except BaseException as error:  # importing a plugin may do anything
                info = PluginInfo(entry.name, None, package, "failed", _one_line(error))
                self._absent.append(info)
                continue
            if package != OURS:
                self.modules[entry.module.partition(".")[0]] = package
            self._claims += claims
            self.recipe_folders |= dict.fromkeys(recipes, package)
            self.published_folders |= dict.fromkeys(published, package)
        for package, reason in reasons.items():
            if off := _switched_off(package, package, disabled):
                self._absent.append(PluginInfo("?", None, package, "disabled", off))
            else:
                self._absent.append(PluginInfo("?", None, package, "failed", reason))

    def offered(self, kind: Kind) -> dict[str, type[hooks.Options]]:
        """Map each name that a recipe may write to its options model, sorted by name.

        Our own names stay ours. Another one that is claimed twice is left out, since either choice
        would surprise somebody.
        """
        return {
            name: owner.model
            for name, claims in sorted(self._by_name(kind).items())
            if (owner := _owner(claims))
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


def _switched_off(package: str, address: str, disabled: Collection[str]) -> str | None:
    """Say why a package is left alone, or None."""
    if package in disabled or address in disabled:
        return f"{DISABLE} names it"
    if OTHERS in disabled and package != OURS:
        return "plugins of other packages are switched off"
    return None


@contextmanager
def _announced(package: str) -> Iterator[None]:
    """Say whom everybody waits for, if it takes long; what it prints is no result of ours."""
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


def _one_line(error: BaseException) -> str:
    """Say what was raised; what it says of itself may be anything."""
    try:
        said = str(error)
    except Exception:
        said = "it cannot say why"
    return textwrap.shorten(f"{type(error).__name__}: {said}", 300, placeholder=" …")


def _load(entry: EntryPoint, address: str) -> tuple[list[_Claim], list[Path], list[Path]]:
    """Ask one entry point what it offers; whatever it raises is the caller's to report."""
    # A manager of its own: neither a misspelt nor a raising hook takes other packages along.
    manager = pluggy.PluginManager(OURS)
    manager.add_hookspecs(hooks)
    plugin = entry.load()
    manager.register(plugin, address)
    manager.check_pending()
    callers = manager.get_hookcallers(plugin)
    if not callers:
        raise PluginError(f"{entry.value} has no function marked with @hookimpl")
    offers: dict[str, list[Any]] = {}
    for caller in callers:
        if not (given := caller()):  # pluggy leaves out None
            raise PluginError(f"{caller.name} returns None, not a list")
        offers[caller.name] = [offer for batch in given for offer in batch]
    claims = [
        _Claim(kind, name, address, model)
        for kind in BASES
        for model in offers.get(f"vidssl_{kind}s", ())
        for name in _names(model, kind)
    ]
    recipes, published = (
        [_folder(offer, hook) for offer in offers.get(hook, ())]
        for hook in ("vidssl_recipes", "vidssl_published")
    )
    return claims, recipes, published


def _folder(offer: Any, hook: str) -> Path:
    if not Path(offer).is_dir():
        raise PluginError(f"{hook} offers {str(offer)!r}, which is no folder")
    return Path(offer)


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


def _owner(claims: list[_Claim]) -> _Claim | None:
    """Return the claim that holds: the only one, or the only one that is our own."""
    ours = [claim for claim in claims if claim.package == OURS] or claims
    return ours[0] if len(ours) == 1 else None


def _describe(claims: list[_Claim]) -> Iterator[PluginInfo]:
    rivals = " and ".join(sorted(each.address for each in claims))
    for claim in claims:
        if claim == _owner(claims):
            yield PluginInfo(claim.name, claim.kind, claim.package, "loaded")
        else:
            reason = f"{rivals} both claim this name; {DISABLE}=PACKAGE switches one off"
            yield PluginInfo(claim.name, claim.kind, claim.package, "failed", reason)


def find(tried: bool = False) -> Registry:
    """Load the plugins of this installation, and warn about those that fail.

    Args:
        tried: load each entry point of other packages in a process of its own first, so that one
            which ends the process that loads it, or never comes to an end, is named.
    """
    entries, broken = find_entries()
    entries.sort(key=lambda entry: package_of(entry) != OURS)  # what is ours goes before others'
    disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",")}
    if tried:
        from vidssl_cli.contract.isolated_load import fatal

        broken = {**broken, **fatal(_wanted(entries, disabled))}
    found = Registry(entries, disabled, broken)
    for info in found.absent():
        if info.status == "failed":
            warn(str(info))
    return found


def _wanted(entries: Iterable[EntryPoint], disabled: set[str]) -> list[EntryPoint]:
    """Return the entry points of other packages that are not switched off."""
    packages = [(entry, package_of(entry)) for entry in entries]
    return [
        entry
        for entry, package in packages
        if package != OURS and not _switched_off(package, f"{package}:{entry.name}", disabled)
    ]


@functools.cache
def registry() -> Registry:
    """Return the plugins of this installation; warn once about those that failed to load."""
    return find()


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


class Offered:
    """Annotates a recipe's field: the installed plugin of this kind that ``name`` picks."""

    def __init__(self, kind: Kind) -> None:
        """Remember the kind; plugins are looked for when the first recipe is checked."""
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Build the schema of a union of all offered models, tagged by ``name``."""
        models = tuple(offered(self.kind).values())
        return handler.generate_schema(Annotated[Union[models], Field(discriminator="name")])  # noqa: UP007
