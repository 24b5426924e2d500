"""What an evaluator's options say, and the recipe where they say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidssl_cli.errors import UsageError
from vidssl_cli.hooks import Pool

if TYPE_CHECKING:
    from vidssl_cli.hooks import EvaluatorOptions, Study


@dataclass(frozen=True)
class Settings:
    """How videos are embedded for a protocol."""

    clips: int
    tap: str
    pool: Pool
    standardise: bool = True


def settle(options: EvaluatorOptions, study: Study) -> Settings:
    """Return the options, filled up by the recipe's.

    Raises:
        UsageError: the backbone has no such tap.
    """

    def choose(key: str) -> Any:
        given = getattr(options, key, None)
        return getattr(study.evaluation, key) if given is None else given

    settings = Settings(*(choose(key) for key in ("clips", "tap", "pool", "standardise")))
    if settings.tap not in study.taps:
        raise UsageError(
            f"the backbone has no tap {settings.tap!r}", hint=f"it has {', '.join(study.taps)}"
        )
    return settings
