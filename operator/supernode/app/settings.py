"""The operator's settings: command line, or the environment variable of the same name."""

import argparse
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from supernode.cluster.lease import Timing
from supernode.control.patience import Patience


@dataclass(frozen=True, slots=True)
class Settings:
    """How one operator process runs.

    ``kubeconfig`` is ``None`` to use $KUBECONFIG, the default file or the pod's service account, in this order.
    ``host`` and ``port`` are where metrics and probes are served; ``None``: at every address, of IPv4 and of IPv6.
    ``log_format`` is ``text`` or ``json``.
    Of all operators with the same ``lease_namespace`` (``None``: that of the credentials) and ``lease_name`` one leads;
    ``identity`` names this process among them.
    """

    kubeconfig: Path | None = None
    host: str | None = None
    port: int = 8080
    log_format: str = "text"
    log_level: str = "INFO"
    lease_namespace: str | None = None
    lease_name: str = "supernode-operator"
    identity: str = ""
    timing: Timing = field(default_factory=Timing)
    patience: Patience = field(default_factory=Patience)


def parse_settings(argv: Sequence[str] | None = None) -> Settings:
    """The settings of this command line; exits with a usage message when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="supernode-operator",
        description="Gives AI jobs topology-contiguous cards on supernodes.",
        epilog="Each option can also be a variable SUPERNODE_<OPTION>, such as SUPERNODE_LOG_LEVEL=DEBUG; empty: none.",
    )
    defaults = Settings()
    parser.add_argument("--kubeconfig", default=_env("KUBECONFIG"), help="file with the cluster's credentials")
    parser.add_argument("--host", default=_env("HOST"), help="address of metrics and probes (default: all of them)")
    parser.add_argument("--port", type=int, default=_env("PORT", str(defaults.port)), help="port of metrics and probes")
    parser.add_argument("--log-format", choices=_FORMATS, default=_env("LOG_FORMAT", defaults.log_format))
    parser.add_argument("--log-level", type=str.upper, choices=_LEVELS, default=_env("LOG_LEVEL", defaults.log_level))
    _add_patience(parser, defaults.patience)
    _add_election(parser, defaults)
    given = parser.parse_args(argv)
    _check(parser, given)
    try:
        timing = Timing(given.lease_duration, given.renew_deadline, given.retry_period)
        patience = Patience(given.hold_after, given.device_grace)
    except ValueError as problem:
        parser.error(str(problem))
    return Settings(
        Path(given.kubeconfig) if given.kubeconfig else None,
        given.host,
        given.port,
        given.log_format,
        given.log_level,
        given.lease_namespace,
        given.lease_name,
        f"{given.identity}-{uuid.uuid4().hex[:8]}",
        timing,
        patience,
    )


def _add_patience(parser: argparse.ArgumentParser, defaults: Patience) -> None:
    for name, default, meaning in (
        ("hold-after", defaults.hold_after, "at the head of its priority until nodes are held for a waiting group"),
        ("device-grace", defaults.device_grace, "until cards that a node no longer offers count as lost"),
    ):
        given = _env(name.upper().replace("-", "_"), str(default))
        parser.add_argument(f"--{name}", type=float, default=given, metavar="SECONDS", help=f"seconds {meaning}")


def _add_election(parser: argparse.ArgumentParser, defaults: Settings) -> None:
    election = parser.add_argument_group("leader election", "Of several operators one leads; the others stand by.")
    election.add_argument(
        "--lease-namespace", default=_env("LEASE_NAMESPACE"), help="namespace of the Lease (default: one's own)"
    )
    election.add_argument("--lease-name", default=_env("LEASE_NAME", defaults.lease_name), help="name of the Lease")
    election.add_argument(
        "--identity",
        default=_env("IDENTITY", socket.gethostname()),
        help="what the Lease calls this process, with a random suffix (default: the host's name)",
    )
    for name, kind, default, meaning in (
        ("lease-duration", int, defaults.timing.duration, "after which others may lead when it is not renewed"),
        ("renew-deadline", float, defaults.timing.renew_deadline, "without a renewal after which it stops leading"),
        ("retry-period", float, defaults.timing.retry, "between renewals"),
    ):
        given = _env(name.upper().replace("-", "_"), str(default))
        election.add_argument(f"--{name}", type=kind, default=given, metavar="SECONDS", help=f"seconds {meaning}")


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Exit where a value is wrong, wherever it comes from: argparse holds no default against the choices."""
    for name, choices in (("log_format", _FORMATS), ("log_level", _LEVELS)):
        if (value := getattr(given, name)) not in choices:
            parser.error(f"{_option(name)} is {value!r}; it must be one of {', '.join(choices)}")
    for name, value in vars(given).items():
        if value == "":
            parser.error(f"{_option(name)} is empty")
    if not 0 <= given.port < 1 << 16:
        parser.error(f"--port is {given.port}; it must be from 0 to 65535")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


_FORMATS = ("text", "json")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _env(name: str, default: str | None = None) -> str | None:
    """The variable of an option; an empty one is as good as none, as manifests cannot always leave one out."""
    return os.environ.get(f"SUPERNODE_{name}") or default
