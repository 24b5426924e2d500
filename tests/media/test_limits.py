"""Limits come from the environment, and what cannot be a limit is refused."""

import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.media.limits import FRAMES, HOURS, PIXELS, limit, raised_by


def test_there_are_defaults_which_the_environment_changes(monkeypatch):
    assert (limit(PIXELS), limit(FRAMES), limit(HOURS)) == (40_000_000, 500_000, 48)
    monkeypatch.setenv(HOURS, "100")
    assert limit(HOURS) == 100
    assert raised_by(HOURS) == "more than 100, which VIDSSL_MAX_HOURS raises"


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "\u0661", "2147483648", "9" * 5000])
def test_what_is_no_whole_number_is_refused(monkeypatch, text):
    monkeypatch.setenv(FRAMES, text)
    with pytest.raises(UsageError, match="VIDSSL_MAX_FRAMES is"):
        limit(FRAMES)
