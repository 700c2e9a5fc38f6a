"""Fixtures of all tests. ``bed`` is a real control plane without nodes, shared by the session."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from testbed import bed as testbed
from testbed.bed import Bed

# The machines that run this are small and noisy: a slow example is no finding, a failing one is.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make nightly` gives ``--nightly``."""
    parser.addoption("--nightly", action="store_true", help="also run what takes hours")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to the night."""
    if config.getoption("--nightly"):
        return
    late = [item for item in items if item.get_closest_marker("nightly")]
    config.hook.pytest_deselected(items=late)
    items[:] = [item for item in items if item not in late]


@pytest.fixture(autouse=True)
def unlimited_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are as wide as they need to be: test runners tell a width of their own, a pipe has none."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """A control plane that nobody else uses; it fails, never skips, where it cannot be had."""
    with testbed.start() as running:
        yield running
