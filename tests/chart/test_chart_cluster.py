"""Both charts installed on a real control plane, as the documentation says, in a namespace that enforces confinement.

On a control plane of its own: the definitions belong to the Helm release here, elsewhere to whoever applied them.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from supernode.api.names import API_VERSION, FINALIZER_CARDS
from testbed import bed as testbed

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
NAMESPACE = "supernode"
RELEASES = ("supernode-operator", "supernode-profiles")
OPERATOR = f"system:serviceaccount:{NAMESPACE}:supernode-operator"
OURS = "customresourcedefinitions,supernodeprofiles.supernode.io,deployments.apps,clusterroles,serviceaccounts,services"

Kubectl = Callable[..., str]
Shell = Callable[..., None]


@pytest.fixture(scope="module")
def bed() -> Iterator[testbed.Bed]:
    with testbed.start(fleet=ROOT / "examples" / "fleets" / "small.yaml") as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(bed: testbed.Bed) -> Kubectl:
    def run(*arguments: str, stdin: str | None = None, check: bool = True) -> str:
        command = [Path(sys.executable).with_name("kubectl"), f"--kubeconfig={bed.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=150, check=False)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    return run


@pytest.fixture(scope="module")
def shell(bed: testbed.Bed) -> Shell:
    """Runs commands of a page: those under a heading, the release being in some namespace."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(heading: str, namespace: str = NAMESPACE, page: str = "install.md") -> None:
        section = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
        (commands,) = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        script = f"set -eu\n{commands.replace('supernode-system', namespace)}"
        environment = os.environ | {"KUBECONFIG": str(bed.kubeconfig), "PATH": path}
        subprocess.run(["sh", "-c", script], cwd=ROOT, env=environment, check=True, timeout=60)

    return run


@pytest.fixture(scope="module")
def releases(bed: testbed.Bed, kubectl: Kubectl) -> Iterator[helm.Config]:
    """Both charts, installed in order; the operator's pod must have been admitted and run."""
    kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    with helm.Config(kubeconfig_path=bed.kubeconfig, namespace=NAMESPACE) as config:
        for release in RELEASES:
            config.install(ROOT / "charts" / release, release, wait="watcher", timeout=60)
        yield config


def specs(kubectl: Kubectl) -> dict[str, Any]:
    """Generation and labels of everything the charts installed."""
    listed = json.loads(
        kubectl("get", OURS, "-A", "-o", "json", "-l", f"app.kubernetes.io/instance in ({','.join(RELEASES)})")
    )
    return {
        f"{item['kind']}/{item['metadata']['name']}": (item["metadata"].get("generation"), item["metadata"]["labels"])
        for item in listed["items"]
    }


def test_every_object_is_there_and_an_upgrade_to_the_same_changes_none(kubectl, releases):
    before = specs(kubectl)
    assert {name.split("/")[0] for name in before} >= {"CustomResourceDefinition", "SuperNodeProfile", "Deployment"}
    assert sum(name.startswith("SuperNodeProfile/") for name in before) == len(
        list((ROOT / "examples/profiles").glob("*.yaml"))
    )
    for release in RELEASES:
        releases.upgrade(ROOT / "charts" / release, release, wait="watcher", timeout=60)
    assert specs(kubectl) == before


@pytest.mark.parametrize(
    ("verb", "resource", "answer"),
    [
        ("watch", "nodes", "yes"),
        ("create", "pods", "yes"),
        ("delete", "trainingjobs.supernode.io", "yes"),
        ("patch", "supernodes.supernode.io/status", "yes"),
        ("patch", "nodes", "no"),
        ("patch", "pods", "no"),
        ("get", "secrets", "no"),
        ("patch", "secrets", "no"),
        ("list", "configmaps", "no"),
        ("create", "pods/exec", "no"),
        ("patch", "trainingjobs.supernode.io", "no"),
        ("patch", "supernodeprofiles.supernode.io", "no"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io", "no"),
    ],
)
@pytest.mark.usefixtures("releases")
def test_the_operator_may_do_its_work_and_no_more(kubectl, verb, resource, answer):
    resource, _, sub = resource.partition("/")
    names = [resource, *([f"--subresource={sub}"] if sub else [])]
    assert kubectl("auth", "can-i", verb, *names, f"--as={OPERATOR}", "-n", NAMESPACE, check=False) == answer


@pytest.mark.parametrize(("lease", "answer"), [("supernode-operator", "yes"), ("another", "no")])
@pytest.mark.usefixtures("releases")
def test_the_operator_may_write_one_lease(kubectl, lease, answer):
    question = ("auth", "can-i", "patch", f"leases.coordination.k8s.io/{lease}", f"--as={OPERATOR}")
    assert kubectl(*question, "-n", NAMESPACE, check=False) == answer
    assert kubectl(*question, "-n", "default", check=False) == "no"


@pytest.mark.usefixtures("releases")
def test_whoever_edits_a_namespace_may_submit_jobs_there_and_only_read_the_machines(kubectl):
    kubectl("create", "namespace", "team-a")
    kubectl("create", "rolebinding", "editors", "--clusterrole=edit", "--user=engineer", "-n", "team-a")
    kubectl("create", "clusterrolebinding", "viewers", "--clusterrole=view", "--user=engineer")

    def may(verb: str, resource: str, namespace: str) -> str:
        return kubectl("auth", "can-i", verb, resource, "--as=engineer", "-n", namespace, check=False)

    assert may("create", "trainingjobs.supernode.io", "team-a") == "yes"
    assert may("create", "trainingjobs.supernode.io", "default") == "no"
    assert may("watch", "supernodes.supernode.io", "team-a") == "yes"
    assert may("patch", "supernodes.supernode.io", "team-a") == "no"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests" / "workload" / "golden").glob("*.yaml")), ids=lambda path: path.stem
)
@pytest.mark.usefixtures("releases")
def test_rendered_pods_and_services_are_accepted(kubectl, path):
    _, *rendered = yaml.safe_load_all(path.read_text())
    for manifest in rendered:
        manifest["metadata"]["namespace"] = "default"
        accepted = kubectl(
            "create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", stdin=json.dumps(manifest)
        )
        assert json.loads(accepted)["metadata"]["name"] == manifest["metadata"]["name"]


def test_upgrades_leave_replicas_on_different_machines(kubectl, releases):
    kubectl("label", "nodes", "a3-0-n000", "a3-0-n001", "role=control")

    def machines() -> set[str]:
        pods = json.loads(kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
        return {pod["spec"]["nodeName"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    for number in range(4):
        values = {"nodeSelector": {"role": "control"}, "podAnnotations": {"upgrade": str(number)}}
        releases.upgrade(ROOT / "charts" / RELEASES[0], RELEASES[0], values, wait="watcher", timeout=60)
        assert machines() == {"a3-0-n000", "a3-0-n001"}


def test_uninstalling_keeps_definitions_and_profiles(kubectl, releases):
    def kept() -> str:
        return kubectl("get", "crd,supernodeprofiles", "-o", "name")

    before = kept()
    for release in reversed(RELEASES):
        releases.uninstall(release)
    assert kept() == before
    assert kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name") == ""


def test_what_another_release_left_is_taken_over(bed, kubectl, shell):
    kubectl("create", "namespace", "elsewhere")
    installed_once_taken_over(bed, shell, "elsewhere")


def test_definitions_deleted_after_the_operator_go_once_its_finalizer_does(kubectl, shell):
    metadata = {"name": "left", "namespace": "default", "finalizers": [FINALIZER_CARDS]}
    spec = {"members": 1, "cardsPerMember": 16}
    group = {"apiVersion": API_VERSION, "kind": "CardGroup", "metadata": metadata, "spec": spec}
    kubectl("create", "-f", "-", stdin=json.dumps(group))
    # As an operator has: of kinds that were never read the API server may say that storage is (re)initializing, and
    # looks again only after five minutes.
    kubectl("get", "cardgroups,supernodeprofiles,supernodes,trainingjobs", "-A")
    kubectl("delete", "--wait=false", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Terminating", "crd/cardgroups.supernode.io")
    shell("Uninstalling", page="operations.md")
    # The API server looks again after as long as there was still an object of a kind, and that once more.
    kubectl("wait", "--for=delete", "--timeout=120s", "-f", str(ROOT / "crds"))


def test_what_was_applied_by_kubectl_is_taken_over(bed, kubectl, shell):
    for folder in ("crds", "examples/profiles"):
        kubectl("apply", "-f", str(ROOT / folder))
        kubectl("wait", "--for=condition=Established", "crd", "--all")
    installed_once_taken_over(bed, shell, NAMESPACE)


def installed_once_taken_over(bed: testbed.Bed, shell: Shell, namespace: str) -> None:
    """Helm refuses both charts, and takes them after what the documentation tells; at the end they are uninstalled."""
    with helm.Config(kubeconfig_path=bed.kubeconfig, namespace=namespace) as config:
        for release in RELEASES:
            with pytest.raises(helm.HelmReleaseError, match="exists and cannot be imported into the current release"):
                config.install(ROOT / "charts" / release, release)
        shell("What is there already", namespace)
        for release in RELEASES:
            config.install(ROOT / "charts" / release, release, wait="watcher", timeout=60)
        for release in reversed(RELEASES):
            config.uninstall(release)


def test_rendered_objects_are_applied_without_a_release(kubectl):
    for release in RELEASES:
        with helm.Chart.load(ROOT / "charts" / release) as chart:
            files = chart.render(name=release, namespace=NAMESPACE)
        manifests = "\n---\n".join(text for path, text in sorted(files.items()) if path.endswith(".yaml"))
        kubectl("apply", "--server-side", "-f", "-", stdin=manifests)
    kubectl("rollout", "status", "deployment/supernode-operator", "-n", NAMESPACE, "--timeout=60s")
