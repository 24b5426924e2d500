"""Checks of arguments, so that a wrong one is an error that names it."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse what is none of the choices.

    Raises:
        UsageError: It is none.
    """
    if value not in choices:
        found = ", ".join(map(repr, choices))
        raise UsageError(f"{name} is {value!r}, and none of {found}", where=name)


def check_positive(name: str, value: Any) -> None:
    """Refuse what is no positive, finite number.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, Real) or not math.isfinite(value) or value <= 0:
        raise UsageError(f"{name} is {value!r}, and no number above 0", where=name)


def check_moment(moment: Any) -> None:
    """Refuse what is neither None nor two numbers of seconds, the smaller first.

    Raises:
        UsageError: It is neither.
    """
    try:
        good = moment is None or (len(moment) == 2 and 0 <= moment[0] < moment[1] < math.inf)
    except (TypeError, LookupError):
        good = False
    if not good:
        raise UsageError(
            f"{moment!r} is no moment", where="moment", hint="give start and end in seconds"
        )
