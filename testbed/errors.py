"""What can go wrong with a test bed. Every message says what to do next.

TestbedError
├── BuildError      a binary could not be built or found
├── StartError      a program of the control plane did not become ready; carries the end of its log
├── FleetError      a fleet file, or the profile it names, is wrong
└── ApiError        the API server refused a request of the test bed
"""

from __future__ import annotations


class TestbedError(Exception):
    """Base of all errors of the test bed; its text is meant for the user."""

    __test__ = False  # pytest must not collect a class for its name


class BuildError(TestbedError):
    """A binary could not be built or found."""


class StartError(TestbedError):
    """A program did not become ready, or a bed is in the wrong state for what was asked."""


class FleetError(TestbedError):
    """A fleet, or a profile it names, cannot be turned into nodes."""


class ApiError(TestbedError):
    """The API server answered with an error; ``status`` is the HTTP code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
