"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes is up to the machine; speed is measured in `benchmarks/`.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
