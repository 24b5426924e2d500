"""The installed plugins: which names a recipe may write, and which packages failed to load.

Every entry point of the group ``vidssl`` is loaded by itself, so that a broken package is named
and the rest works. The environment variable ``VIDSSL_DISABLE_PLUGINS`` switches plugins off: a
comma-separated list of distributions, or of ``distribution:entry point``; ``*`` stands for all
distributions but vidssl itself.
"""

from __future__ import annotations

import functools
import os
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import PluginError
from vidssl_cli.base.signals import Stopped
from vidssl_cli.contract.entry_points import (
    DISABLE,
    OTHERS,
    OURS,
    find_entries,
    outdated,
    package_of,
)
from vidssl_cli.contract.hooks import Options
from vidssl_cli.contract.loading import BASES, Claim, Kind, load

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


@dataclass(frozen=True)
class PluginInfo:
    """One line of `vidssl plugins`."""

    name: str
    """What a recipe writes; the name of the entry point where that is not loaded."""
    kind: Kind | None
    """None where the entry point is not loaded."""
    package: str
    """The distribution, as pip names it."""
    status: Literal["loaded", "failed", "disabled"]
    reason: str | None = None
    """Why it is not loaded, or what may be wrong with it."""

    def __str__(self) -> str:
        verb = "was" if self.status == "disabled" else "has"
        return (
            f"{self.kind or 'plugin'} {self.name} of {self.package} "
            f"{verb} {self.status}: {self.reason}"
        )


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
            disabled: packages and addresses that are not loaded.
            broken: what is known to be broken, by package or address, with the reason.
        """
        self.recipe_folders: dict[Path, str] = {}
        """Folders of recipes, each with the package that ships it."""
        self.published_folders: dict[Path, str] = {}
        """The same for published figures."""
        self.modules: dict[str, str] = {}
        """Top-level modules of other packages' plugins, each with its package."""
        self.outdated: dict[str, str] = {}
        """What packages that are loaded were written for, where this is another version."""
        self._claims: list[Claim] = []
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
                offers = load(entry, address, package)
            except (KeyboardInterrupt, Stopped):
                raise
            except BaseException as error:  # importing a plugin may do anything
                reason = "; ".join(filter(None, [_one_line(error), outdated(entry)]))
                self._absent.append(PluginInfo(entry.name, None, package, "failed", reason))
                continue
            if package != OURS:
                if clash := outdated(entry):
                    self.outdated[package] = clash
                self.modules[entry.module.partition(".")[0]] = package
            self._claims += offers.claims
            self.recipe_folders |= dict.fromkeys(offers.recipes, package)
            self.published_folders |= dict.fromkeys(offers.published, package)
        for package, reason in reasons.items():
            if off := _switched_off(package, package, disabled):
                self._absent.append(PluginInfo("?", None, package, "disabled", off))
            else:
                self._absent.append(PluginInfo("?", None, package, "failed", reason))

    def offered(self, kind: Kind) -> dict[str, type[Options]]:
        """Map each name that a recipe may write to its options model, sorted by name.

        A name of vidssl's own plugins is theirs. Another name that several packages claim is left
        out: neither choice would be expected.
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
            for info in self._describe(claims)
        ] + sorted(self._absent, key=lambda info: (info.package, info.name))

    def absent(self) -> list[PluginInfo]:
        """List what was found but is not loaded."""
        return [info for info in self.installed() if info.status != "loaded"]

    def _describe(self, claims: list[Claim]) -> Iterator[PluginInfo]:
        rivals = " and ".join(sorted(each.address for each in claims))
        for claim in claims:
            if claim == _owner(claims):
                clash = self.outdated.get(claim.package)
                yield PluginInfo(claim.name, claim.kind, claim.package, "loaded", clash)
            else:
                reason = f"{rivals} both claim this name; {DISABLE}=PACKAGE switches one off"
                yield PluginInfo(claim.name, claim.kind, claim.package, "failed", reason)

    def _by_name(self, kind: Kind) -> dict[str, list[Claim]]:
        claims: dict[str, list[Claim]] = {}
        for claim in self._claims:
            if claim.kind == kind:
                claims.setdefault(claim.name, []).append(claim)
        return claims


def _switched_off(package: str, address: str, disabled: Collection[str]) -> str | None:
    """Return why a package is not loaded, or None."""
    if package in disabled or address in disabled:
        return f"{DISABLE} names it"
    if OTHERS in disabled and package != OURS:
        return "plugins of other packages are switched off"
    return None


def _one_line(error: BaseException) -> str:
    """Return the type and the message of an exception on one line."""
    try:
        said = str(error)
    except Exception:
        said = "(no message)"
    return textwrap.shorten(f"{type(error).__name__}: {said}", 300, placeholder=" …")


def _owner(claims: list[Claim]) -> Claim | None:
    """Return the claim that holds: the only one, or the only one of vidssl itself."""
    ours = [claim for claim in claims if claim.package == OURS] or claims
    return ours[0] if len(ours) == 1 else None


def find(tried: bool = False) -> Registry:
    """Load the plugins of this installation, and warn about those that fail.

    Args:
        tried: load each entry point of other packages in a process of its own first, to find those
            that end the process or never return.
    """
    entries, broken = find_entries()
    entries.sort(key=lambda entry: package_of(entry) != OURS)  # vidssl's own first
    disabled = {name.strip() for name in os.environ.get(DISABLE, "").split(",")}
    if tried:
        from vidssl_cli.contract.isolated_load import fatal

        broken = {**broken, **fatal(_wanted(entries, disabled))}
    found = Registry(entries, disabled, broken)
    for info in found.absent():
        if info.status == "failed":
            warn(str(info))
    for package, clash in found.outdated.items():
        warn(f"{package} is loaded, but {clash}")
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


def offered(kind: Kind) -> dict[str, type[Options]]:
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
        """Store the kind; plugins are loaded when the first recipe is checked."""
        self.kind = kind

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Build the schema of a union of all offered models, tagged by ``name``."""
        models = tuple(offered(self.kind).values())
        return handler.generate_schema(Annotated[Union[models], Field(discriminator="name")])  # noqa: UP007
