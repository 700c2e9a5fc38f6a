"""Starting where something is missing: definitions, rights, the API server. It waits, says for what, and goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster_view import Cluster, training_job

from testbed import bed as testbed
from testbed.bed import Bed
from testbed.installation import NAMESPACE, Operator, install, kubectl, service_account_kubeconfig

pytestmark = pytest.mark.cluster
FLEET = Path(__file__).parents[2] / "examples" / "fleets" / "small.yaml"


@pytest.fixture(scope="module")
def bare() -> Iterator[Bed]:
    """A cluster with nodes and nothing of ours."""
    with testbed.start(fleet=FLEET) as running:
        yield running


def test_it_waits_for_definitions_and_rights_and_says_so(bare: Bed) -> None:
    kubectl(bare, "create", "namespace", NAMESPACE)
    kubectl(bare, "create", "serviceaccount", "supernode-operator", "-n", NAMESPACE)
    operator = Operator(bare, service_account_kubeconfig(bare, "supernode-operator"))
    operator.start(ready_within=None)
    cluster = Cluster(bare, operator)
    try:
        cluster.wait("it says what it may not do", lambda: "nodes is forbidden" in operator.log.read_text())
        status, text = operator.get("/readyz")
        assert status == 503
        assert "nodes" in text
        assert operator.get("/healthz")[0] == 200
        install(bare)
        cluster.wait("it is ready once it may and the kinds are there", lambda: operator.get("/readyz")[0] == 200, 90)
        cluster.wait("it discovers", lambda: len(cluster.every("supernodes")) == 2)
        cluster.apply(training_job("first", "default", replicas=2))
        cluster.wait_phase("first", "default", "Running")
        assert operator.running
    finally:
        operator.stop()


def test_it_starts_while_the_api_server_is_away(bare: Bed) -> None:
    bare.stop_apiserver()
    operator = Operator(bare, bare.folder / "operator.kubeconfig", name="early")
    operator.start(ready_within=None)
    cluster = Cluster(bare, operator)
    try:
        cluster.wait("its probe answers", lambda: operator.get("/healthz")[0] == 200)
        assert operator.get("/readyz")[0] == 503
        bare.start_apiserver()
        cluster.wait("it is ready", lambda: operator.get("/readyz")[0] == 200, 90)
    finally:
        bare.start_apiserver()
        operator.stop()


def test_without_credentials_it_ends_at_once_with_the_remedy(bare: Bed, tmp_path: Path) -> None:
    missing = tmp_path / "none.kubeconfig"
    operator = Operator(bare, missing, name="lost")
    operator.start(ready_within=None)
    Cluster(bare, operator).wait("it ends", lambda: not operator.running)
    assert "none.kubeconfig" in operator.log.read_text()
    assert "Traceback" not in operator.log.read_text()


def test_a_kubeconfig_that_is_none_is_refused(bare: Bed, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.kubeconfig"
    wrong.write_text(yaml.safe_dump({"clusters": []}))
    operator = Operator(bare, wrong, name="wrong")
    operator.start(ready_within=None)
    Cluster(bare, operator).wait("it ends", lambda: not operator.running)
    assert "wrong.kubeconfig" in operator.log.read_text()
    assert "Traceback" not in operator.log.read_text()
