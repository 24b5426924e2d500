"""Whose code it was that raised: ours, or that of another package's plugin."""

from __future__ import annotations

import traceback

from vidssl_cli.base.errors import PluginError, VidsslError, notes
from vidssl_cli.contract.registry import registry

OURS = {"vidssl_cli", "vidssl_plugins"}


def blamed(error: BaseException) -> PluginError | None:
    """Return what to say if the plugin of another package raised, or None.

    The last of our frames or theirs counts; torch, numpy and the like only did as they were told.
    """
    if isinstance(error, VidsslError):  # which says it in its own words
        if not isinstance(error, PluginError):
            return None
        said = "; ".join([str(error), *notes(error)])
        return PluginError(said, where=error.where, hint=error.hint)
    if not registry.cache_info().currsize:  # nobody has asked for a plugin yet
        return None
    theirs = registry().modules
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__"))
        top = module.partition(".")[0]
        if top in theirs:
            package = theirs[top]
            place = f"{frame.f_code.co_qualname} ({module}, line {line})"
            said = f"{package}: {place} raised {type(error).__name__}: {error}"
            return PluginError(
                "; ".join([said, *notes(error)]),
                where=package,
                hint=f"report it to the authors of {package}; --debug shows the traceback",
            )
        if top in OURS:
            break
    return None
