"""Attributes an exception to the plugin of another package."""

from __future__ import annotations

import traceback

from vidssl_cli.base.errors import PluginError, VidsslError, notes
from vidssl_cli.contract.registry import registry

OWN_MODULES = {"vidssl_cli", "vidssl_plugins"}


def plugin_error(error: BaseException) -> PluginError | None:
    """Attribute an exception to a plugin; return None if vidssl itself raised it.

    The last frame of a plugin or of vidssl counts; an exception inside torch or numpy is
    attributed to their caller.
    """
    if isinstance(error, VidsslError):
        if not isinstance(error, PluginError):
            return None
        *first, last = error.problems
        last = "; ".join([last, *notes(error)])
        return PluginError([*first, last], where=error.where, hint=error.hint)
    if not registry.cache_info().currsize:  # no plugin was loaded
        return None
    plugins = registry().modules
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__"))
        top = module.partition(".")[0]
        if top in plugins:
            package = plugins[top]
            place = f"{frame.f_code.co_qualname} ({module}, line {line})"
            message = f"{package}: {place} raised {type(error).__name__}: {error}"
            return PluginError(
                "; ".join([message, *notes(error)]),
                where=package,
                hint=f"report it to the authors of {package}; --debug shows the traceback",
            )
        if top in OWN_MODULES:
            break
    return None
