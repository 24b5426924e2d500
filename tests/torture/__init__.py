"""Suites that try to break vidssl's promises, many times over: `make torture`.

Every module here that has a `SUITE` is one; `harness` carries them out and `python -m torture`
is its command line. Each case is addressed by suite, seed and number, and can be run alone.
"""
