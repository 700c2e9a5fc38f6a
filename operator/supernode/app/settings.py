"""The operator's settings: command line, or the environment variable of the same name."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """How one operator process runs.

    ``kubeconfig`` is ``None`` to use $KUBECONFIG, the pod's service account or the default file, in this order.
    ``host`` and ``port`` are where metrics and probes are served. ``log_format`` is ``text`` or ``json``.
    """

    kubeconfig: Path | None = None
    host: str = "0.0.0.0"
    port: int = 8080
    log_format: str = "text"
    log_level: str = "INFO"


def parse_settings(argv: Sequence[str] | None = None) -> Settings:
    """The settings of this command line; exits with a usage message when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="supernode-operator",
        description="Gives AI jobs topology-contiguous cards on supernodes.",
        epilog="Each option can also be given as SUPERNODE_<OPTION>, such as SUPERNODE_LOG_LEVEL=DEBUG.",
    )
    defaults = Settings()
    parser.add_argument(
        "--kubeconfig", type=Path, default=_env("KUBECONFIG"), help="file with the cluster's credentials"
    )
    parser.add_argument("--host", default=_env("HOST", defaults.host), help="address of metrics and probes")
    parser.add_argument("--port", type=int, default=_env("PORT", str(defaults.port)), help="port of metrics and probes")
    parser.add_argument("--log-format", choices=("text", "json"), default=_env("LOG_FORMAT", defaults.log_format))
    parser.add_argument("--log-level", type=str.upper, choices=_LEVELS, default=_env("LOG_LEVEL", defaults.log_level))
    given = parser.parse_args(argv)
    return Settings(given.kubeconfig, given.host, given.port, given.log_format, given.log_level)


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _env(name: str, default: str | None = None) -> str | None:
    return os.environ.get(f"SUPERNODE_{name}", default)
