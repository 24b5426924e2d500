"""The plugin keeps vidssl's contract."""

from vidssl_cli.testing import check_pretext, check_sampler
from vidssl_example.options.freeze import FreezePretext, FreezeSampler


def test_sampler():
    check_sampler(FreezeSampler(name="freeze"))


def test_pretext():
    check_pretext(FreezePretext(name="freeze"), FreezeSampler(name="freeze"))
