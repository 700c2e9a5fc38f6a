"""Which cluster is meant, by the rules of kubectl: contexts of kubeconfigs, and the pod's service account."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from supernode.cluster import credentials
from supernode.cluster.errors import NoCluster

CONTEXTS = {
    "one": {"cluster": "one", "user": "u", "namespace": "research"},
    "two": {"cluster": "two", "user": "u"},
    "broken": {"cluster": "none", "user": "u"},
}


def kubeconfig(path: Path, **changed: Any) -> Path:
    """Two clusters and three contexts, of which `broken` has no cluster; None takes a part away."""
    clusters = [{"name": name, "cluster": {"server": f"http://{name}.example.com"}} for name in ("one", "two")]
    config = {
        "clusters": clusters,
        "contexts": [{"name": name, "context": context} for name, context in CONTEXTS.items()],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "current-context": "one",
        **changed,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({name: part for name, part in config.items() if part is not None}))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in a pod."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


@pytest.mark.parametrize("current", [None, "", "gone", "broken", "one"])
@pytest.mark.parametrize(("context", "namespace"), [("one", "research"), ("two", "default")])
def test_a_named_context_needs_no_current_one(
    tmp_path: Path, current: str | None, context: str, namespace: str
) -> None:
    path = kubeconfig(tmp_path / "config", **{"current-context": current})
    found = credentials.find(path, context)
    assert (found.server, found.namespace) == (f"http://{context}.example.com", namespace)


@pytest.mark.parametrize(
    ("current", "context"), [(None, None), ("", None), ("gone", None), ("broken", None), ("one", "gone")]
)
def test_what_names_no_cluster_is_told_with_the_file(tmp_path: Path, current: str | None, context: str | None) -> None:
    path = kubeconfig(tmp_path / "config", **{"current-context": current})
    with pytest.raises(NoCluster, match=f"cannot use the kubeconfig {path}"):
        credentials.find(path, context)


def test_in_a_pod_a_kubeconfig_and_a_context_come_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoCluster, match="service account"):
        credentials.find()
    with pytest.raises(NoCluster, match="cannot use the kubeconfig"):
        credentials.find(context="two")
    kubeconfig(home / ".kube" / "config")
    assert credentials.find().server == "http://one.example.com"
    assert credentials.find(context="two").server == "http://two.example.com"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(home / "other", **{"current-context": "two"})))
    assert credentials.find().server == "http://two.example.com"


def test_in_a_pod_nobody_needs_a_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: type[Path]) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", classmethod(homeless))
    monkeypatch.chdir(home)
    with pytest.raises(NoCluster, match="service account"):
        credentials.find()
