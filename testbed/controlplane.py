"""The flags and configuration files with which each program of the control plane is started.

Everything listens on loopback only. The values differ from a production cluster where tests need speed (no fsync, high
client rates) and nowhere else: admission, RBAC, garbage collection and scheduling are the real ones.
"""

from __future__ import annotations

import random
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.paths import SOURCE

HOST = "127.0.0.1"
START_ORDER = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
PARALLEL = 64
"""Objects that the fake kubelets play at once; more only fills the API server's queue."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose about a control plane."""

    audit: bool = True
    """Log every request (metadata only), but those of the control plane itself, to ``audit.log``."""
    leases: bool = False
    """Renew a Lease per node as kubelets do; without it a node is lost only when annotated so."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files and ports of one bed. All files lie in its own folder, which goes when the bed goes."""

    folder: Path
    etcd_port: int
    etcd_peer_port: int
    api_port: int
    scheduler_port: int
    kwok_port: int

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.api_port}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def component_kubeconfig(self) -> Path:
        return self.folder / "component.kubeconfig"

    @property
    def certificate(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def log(self, program: str) -> Path:
        return self.folder / f"{program}.log"


def new_layout(folder: Path) -> Layout:
    """A layout on ports that are free now."""
    return Layout(folder, *free_ports(5))


def free_ports(count: int) -> list[int]:
    """Distinct free loopback ports from below the range that the kernel hands to outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def write_files(layout: Layout, options: Options) -> None:
    """Write tokens, policies and configurations. The certificate does not exist yet: the API server makes it."""
    admin, component = secrets.token_hex(16), secrets.token_hex(16)
    _write(layout.folder / "admin.token", admin)
    _write(
        layout.folder / "tokens.csv",
        f'{admin},testbed-admin,testbed-admin,"system:masters"\n'
        f'{component},testbed-component,testbed-component,"system:masters"\n',
    )
    _write_yaml(layout.kubeconfig, _kubeconfig(layout, admin))
    _write_yaml(layout.component_kubeconfig, _kubeconfig(layout, component))
    _write_yaml(layout.folder / "audit-policy.yaml", _AUDIT_POLICY)
    _write_yaml(layout.folder / "scheduler.yaml", _scheduler(layout))
    kwok = yaml.safe_dump(_kwok(options), sort_keys=False)
    _write(layout.folder / "kwok.yaml", f"{kwok}---\n{(SOURCE / 'stages.yaml').read_text()}")


def arguments(program: str, layout: Layout, options: Options) -> list[str]:
    """The flags of one program."""
    return _ARGUMENTS[program](layout, options)


def _etcd(layout: Layout, _options: Options) -> list[str]:
    client, peer = f"http://{HOST}:{layout.etcd_port}", f"http://{HOST}:{layout.etcd_peer_port}"
    return [
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def _api_server(layout: Layout, options: Options) -> list[str]:
    # The API server writes its self-signed certificate before it reads the signing key, so the one key serves both.
    key = layout.certificate.with_suffix(".key")
    audit = [
        f"--audit-policy-file={layout.folder / 'audit-policy.yaml'}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=4096",
    ]
    return [
        f"--etcd-servers=http://{HOST}:{layout.etcd_port}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={layout.api_port}",
        f"--cert-dir={layout.certificate.parent}",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={layout.folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--endpoint-reconciler-type=none",
        # It taints each new node until the controller manager has seen it ready: two more writes per node, minutes for
        # a large fleet. Nodes come with their status, and those that stop being ready are tainted all the same.
        "--disable-admission-plugins=TaintNodesByCondition",
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        "--shutdown-delay-duration=0s",
        *(audit if options.audit else []),
    ]


def _controller_manager(layout: Layout, options: Options) -> list[str]:
    # Without leases nobody renews a node, and the controller must not take that for a lost one. Looking at 12,500 nodes
    # every 2 s takes an eighth of a core; where nothing can be found, its default of 5 s will do.
    grace, period = ("40s", "2s") if options.leases else ("87600h", "5s")
    return [
        f"--kubeconfig={layout.component_kubeconfig}",
        # The ttl controller writes to every node each time the fleet outgrows a size, for kubelets that are not there.
        "--controllers=*,-ttl-controller",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=3000",
        "--kube-api-burst=5000",
        f"--service-account-private-key-file={layout.certificate.with_suffix('.key')}",
        f"--root-ca-file={layout.certificate}",
        f"--node-monitor-grace-period={grace}",
        f"--node-monitor-period={period}",
        "--concurrent-gc-syncs=50",
        "--concurrent-namespace-syncs=50",
    ]


def _scheduler_flags(layout: Layout, _options: Options) -> list[str]:
    return [
        f"--config={layout.folder / 'scheduler.yaml'}",
        f"--bind-address={HOST}",
        f"--secure-port={layout.scheduler_port}",
    ]


def _kwok_flags(layout: Layout, _options: Options) -> list[str]:
    return [
        f"--kubeconfig={layout.component_kubeconfig}",
        f"--config={layout.folder / 'kwok.yaml'}",
        f"--server-address={HOST}:{layout.kwok_port}",
    ]


_ARGUMENTS = {
    "etcd": _etcd,
    "kube-apiserver": _api_server,
    "kube-controller-manager": _controller_manager,
    "kube-scheduler": _scheduler_flags,
    "kwok": _kwok_flags,
}

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["testbed-component", "system:apiserver"]},
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*"]},
        {"level": "Metadata"},
    ],
}


def _scheduler(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(layout.component_kubeconfig), "qps": 5000, "burst": 5000},
        "leaderElection": {"leaderElect": False},
    }


def _kwok(options: Options) -> dict[str, Any]:
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "metadata": {"name": "kwok"},
        "options": {
            "cidr": "10.0.0.1/9",
            "manageNodesWithAnnotationSelector": "kwok.x-k8s.io/node=fake",
            "podPlayStageParallelism": PARALLEL,
            "nodePlayStageParallelism": PARALLEL,
            "podsOnNodeSyncParallelism": PARALLEL,
            "nodeLeaseParallelism": PARALLEL,
            "nodeLeaseDurationSeconds": 40 if options.leases else 0,
            "enablePodsOnNodeSyncListPager": False,
            "enablePodsOnNodeSyncStreamWatch": True,
        },
    }


def _kubeconfig(layout: Layout, token: str) -> dict[str, Any]:
    name = f"testbed-{layout.folder.name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": layout.url, "certificate-authority": str(layout.certificate)}}
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def _write_yaml(path: Path, content: object) -> None:
    _write(path, yaml.safe_dump(content, sort_keys=False))


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
