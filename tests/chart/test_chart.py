"""The charts, linted and rendered by Helm's own library; their objects held against the schemas of Kubernetes."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from supernode.app.settings import Settings, parse_settings
from supernode.cluster.lease import Timing
from supernode.control.allocator import IDLE_INTERVAL
from supernode.control.engine import STALE_AFTER
from supernode.topology import deviceinfo

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "supernode-operator"
CHARTS = [CHART, ROOT / "charts" / "supernode-profiles"]
KUBERNETES = "1.37.0"
CRDS = {path.name.removesuffix(".yaml"): path for path in sorted((ROOT / "crds").glob("*.yaml"))}
PROFILES = {path.stem: path for path in sorted((ROOT / "examples" / "profiles").glob("*.yaml"))}
KEPT = {"helm.sh/resource-policy": "keep", "argocd.argoproj.io/sync-options": "Prune=false,Delete=false"}
"""By Helm and by Argo CD, which by Helm's annotation keeps what goes with its application, but prunes it."""

VALUES = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example/team/supernode", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "pull"}],
        "fullnameOverride": "cards",
        "replicas": 3,
        "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}},
        "operator": {
            "logFormat": "text",
            "logLevel": "DEBUG",
            "leaseDuration": 60,
            "renewDeadline": 40,
            "retryPeriod": 2.5,
        },
        "serviceAccount": {"name": "cards", "annotations": {"owner": "platform"}},
        "podAnnotations": {"note": "x"},
        "podLabels": {"team": "platform"},
        "extraEnv": [
            {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
            {"name": "SUPERNODE_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "nodeSelector": {"role": "control"},
        "tolerations": [{"key": "control", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "system-cluster-critical",
        "metrics": {
            "service": {"annotations": {"scrape": "yes"}},
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "rules": {"enabled": True, "labels": {"release": "prometheus"}},
        },
    },
    "least": {
        "replicas": 1,
        "crds": {"install": False},
        "rbac": {"create": False, "aggregate": False},
        "serviceAccount": {"create": False},
        "metrics": {"service": {"enabled": False}},
    },
}


@pytest.mark.parametrize(
    ("chart_path", "values"),
    [*((CHART, values) for values in VALUES.values()), (CHARTS[1], {})],
    ids=[*VALUES, "profiles"],
)
def test_lint_finds_nothing_wrong(chart_path, values):
    report = helm.lint(chart_path, values, strict=True, kube_version="v" + KUBERNETES)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["error"] != "icon is recommended"] == []


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_objects_are_valid(render, values):
    for (kind, _), manifest in render(values).items():
        if kind not in ("ServiceMonitor", "PrometheusRule"):
            kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_rendering_twice_gives_the_same(render):
    assert render() == render()


def test_the_least_is_the_operator_alone(render):
    assert list(render(VALUES["least"])) == [("Deployment", "supernode-operator")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"imagee": {}}, "imagee"),
        ({"image": {"repository": ""}}, "repository"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"operator": {"logFormat": "xml"}}, "logFormat"),
        ({"crds": {"install": "yes"}}, "install"),
        ({"crds": {"keep": False}}, "keep"),
        ({"metrics": {"serviceMonitor": {"interval": "soon"}}}, "interval"),
        ({"podLabels": {"a": 1}}, "podLabels"),
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, "app.kubernetes.io/name"),
        ({"metrics": {"serviceMonitor": {"labels": {"helm.sh/chart": "x"}}}}, "helm.sh/chart"),
        ({"operator": {"logLevel": "TRACE"}}, "logLevel"),
        ({"extraEnv": [{"name": "PORT", "value": 8080}]}, "extraEnv"),
        ({"image": {"repository": "team/operator:1.2"}}, "repository"),
        ({"image": {"repository": "registry:5000/team/operator:1.2"}}, "repository"),
        ({"replicas": 0}, "replicas"),
        ({"strategy": {"type": "Rolling"}}, "type"),
        ({"strategy": {"rollingUpdate": {"maxSurge": "1"}}}, "maxSurge"),
        ({"operator": {"leaseDuration": "15s"}}, "leaseDuration"),
    ],
)
def test_wrong_values_are_refused_by_name(chart, values, message):
    with pytest.raises(helm.HelmValuesError, match=message):
        chart.validate_schema(values)


@pytest.mark.parametrize(
    "values", [{"install": "all"}, {"install": [""]}, {"overrides": {"ascend-950": 3}}, {"profiles": []}]
)
def test_wrong_values_of_the_profiles_chart_are_refused(profiles_chart, values):
    with pytest.raises(helm.HelmValuesError, match=next(iter(values))):
        profiles_chart.validate_schema(values)


@pytest.mark.parametrize("values", [{"install": ["tpu-v9"]}, {"overrides": {"tpu-v9": {}}}])
def test_an_unknown_profile_is_refused_with_the_known_ones(render_profiles, values):
    with pytest.raises(helm.HelmRenderError, match=r'no profile "tpu-v9" in this chart; known: .*nvidia-nvl72'):
        render_profiles(values)


def test_a_monitor_without_its_service_is_refused(render):
    with pytest.raises(helm.HelmRenderError, match=r"needs metrics\.service\.enabled"):
        render({"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}})


@pytest.mark.parametrize("name", ["SUPERNODE_LEASE_NAME", "SUPERNODE_LEASE_NAMESPACE"])
def test_a_lease_that_the_operator_may_not_write_is_refused(render, name):
    """It would wait for the right to do so, and never lead."""
    values = {"extraEnv": [{"name": "HTTPS_PROXY", "value": "x"}, {"name": name, "value": "mine"}]}
    with pytest.raises(helm.HelmRenderError, match=f"extraEnv: {name} cannot be set while rbac.create is true"):
        render(values)
    render(values | {"rbac": {"create": False}})


def test_a_port_of_which_the_operator_would_not_hear_is_refused(render):
    with pytest.raises(helm.HelmRenderError, match="extraEnv: SUPERNODE_PORT cannot be set"):
        render({"extraEnv": [{"name": "SUPERNODE_PORT", "value": "9090"}]})


@pytest.mark.parametrize(
    "times",
    [
        {"leaseDuration": 5, "renewDeadline": 20},
        {"leaseDuration": 10},
        {"retryPeriod": 10},
        {"leaseDuration": 10, "renewDeadline": 9.5, "retryPeriod": 9.6},
        {"leaseDuration": 15, "renewDeadline": 10, "retryPeriod": 9},
    ],
)
def test_lease_times_that_the_program_refuses_are_refused(render, times):
    values = yaml.safe_load((CHART / "values.yaml").read_text())["operator"] | times
    names = {"lease-duration": "leaseDuration", "renew-deadline": "renewDeadline", "retry-period": "retryPeriod"}
    with pytest.raises(SystemExit):
        parse_settings([f"--{option}={values[name]}" for option, name in names.items()])
    with pytest.raises(
        helm.HelmRenderError, match=r"renewDeadline \(.*\) must be over 1.2 times retryPeriod \(.*under leaseDuration"
    ):
        render({"operator": times})


@pytest.mark.parametrize("times", [{}, {"leaseDuration": 11}, {"retryPeriod": 8.3}, {"leaseDuration": 100}])
def test_lease_times_that_the_program_takes_are_taken(render, times):
    deployment = render({"operator": times})["Deployment", "supernode-operator"]
    parse_settings(deployment["spec"]["template"]["spec"]["containers"][0]["args"])


@pytest.mark.parametrize("length", [54, 55, 56, 63])
def test_no_name_is_too_long(render, length):
    name = "a" * 54 + "-" + "b" * 8
    objects = render({"fullnameOverride": name[:length].rstrip("-"), "metrics": {"serviceMonitor": {"enabled": True}}})
    for kind, found in objects:
        assert len(found) <= 63 or kind in ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"), found
    assert ("Service", "a" * 54 + "-metrics") in objects


def test_the_copies_in_the_chart_are_current():
    check = subprocess.run(
        [sys.executable, ROOT / "charts" / "sync.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (check.returncode, check.stderr) == (0, "")


def exactly(value):
    """JSON tells 4096 from 4096.0, which Python holds equal and the API server does not."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(("name", "path"), CRDS.items(), ids=CRDS)
def test_definitions_are_rendered_unchanged_and_kept(render, name, path):
    source, rendered = yaml.safe_load(path.read_text()), render()["CustomResourceDefinition", name]
    assert exactly(rendered["spec"]) == exactly(source["spec"])
    assert rendered["metadata"]["annotations"] == KEPT


@pytest.mark.parametrize(("name", "path"), PROFILES.items(), ids=PROFILES)
def test_profiles_are_rendered_unchanged_and_kept(render_profiles, name, path):
    rendered = render_profiles()["SuperNodeProfile", name]
    assert exactly(rendered["spec"]) == exactly(yaml.safe_load(path.read_text())["spec"])
    assert rendered["metadata"]["annotations"] == KEPT
    alone = render_profiles({"install": [name], "keep": False})
    assert list(alone) == [("SuperNodeProfile", name)]
    assert "annotations" not in alone["SuperNodeProfile", name]["metadata"]


def test_a_part_of_a_profile_can_be_overridden(render_profiles):
    before = render_profiles()["SuperNodeProfile", "ascend-a3-384"]["spec"]
    overrides = {"ascend-a3-384": {"allocation": {"reserve": 4}, "card": {"precisions": ["bf16"]}}}
    after = render_profiles({"overrides": overrides})["SuperNodeProfile", "ascend-a3-384"]["spec"]
    assert after["allocation"] == before["allocation"] | {"reserve": 4}
    assert after["card"] == before["card"] | {"precisions": ["bf16"]}
    assert after["levels"] == before["levels"]


def test_the_operator_runs_confined(render):
    pod = render()["Deployment", "supernode-operator"]["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_replicas_are_spread_whatever_other_versions_still_run(render):
    (spread,) = render()["Deployment", "supernode-operator"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["matchLabelKeys"] == ["pod-template-hash"]


def test_replicas_that_are_not_ready_hold_up_no_drain(render):
    budget = render()["PodDisruptionBudget", "supernode-operator"]["spec"]
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize(
    ("strategy", "rendered"),
    [
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        (
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        ),
        ({"type": "Recreate"}, {"type": "Recreate"}),
    ],
)
def test_how_replicas_are_replaced_can_be_chosen(render, strategy, rendered):
    assert render({"strategy": strategy})["Deployment", "supernode-operator"]["spec"]["strategy"] == rendered


def test_the_level_of_the_log_and_the_environment_can_be_set(render):
    def container(values):
        return render(values)["Deployment", "supernode-operator"]["spec"]["template"]["spec"]["containers"][0]

    variables = [{"name": "NO_PROXY", "value": "10.0.0.0/8"}]
    assert "env" not in container({})
    assert container({"extraEnv": variables})["env"] == variables
    assert parse_settings(container({})["args"]).log_level == Settings().log_level
    assert parse_settings(container({"operator": {"logLevel": "DEBUG"}})["args"]).log_level == "DEBUG"


def test_the_name_of_a_priority_class_stays_a_string(render):
    pod = render({"priorityClassName": "1"})["Deployment", "supernode-operator"]["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "1"


def test_image_is_named_by_tag_or_pinned_by_digest(render):
    def image(values):
        return render({"image": values})["Deployment", "supernode-operator"]["spec"]["template"]["spec"]["containers"][
            0
        ]["image"]

    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert image({"repository": "r/s"}) == f"r/s:{version}"
    assert image({"repository": "r:5000/s"}) == f"r:5000/s:{version}"
    assert image({"repository": "r/s", "tag": "edge"}) == "r/s:edge"
    assert image({"repository": "r/s", "tag": "edge", "digest": "sha256:" + "a" * 64}) == "r/s@sha256:" + "a" * 64


def test_everything_that_selects_the_operator_finds_it(render):
    objects = render(VALUES["everything"])
    deployment, service = objects["Deployment", "cards"], objects["Service", "cards-metrics"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    assert service["spec"]["selector"].items() <= labels
    monitor = objects["ServiceMonitor", "cards"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_alerts_are_rendered_unchanged_and_found(render):
    rules = render(VALUES["everything"])["PrometheusRule", "cards"]
    assert rules["spec"] == yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    assert rules["metadata"]["labels"]["release"] == "prometheus"


SCRAPE_AND_EVALUATE = 2 * 30
"""Seconds, by the intervals that Prometheus often has, until a rule has seen what is."""


def test_silence_is_alerted_before_liveness_starts_the_process_anew(render):
    groups = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
    [rule] = [rule for group in groups for rule in group["rules"] if rule["alert"] == "SupernodeAllocatorSilent"]
    threshold = float(rule["expr"].split(">")[1])
    deployment = render(VALUES["everything"])["Deployment", "cards"]
    probe = deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    restarted = STALE_AFTER + (probe["failureThreshold"] - 1) * probe["periodSeconds"]
    assert threshold > IDLE_INTERVAL * 3, "passes may take their time"
    assert "for" not in rule
    assert threshold + SCRAPE_AND_EVALUATE <= restarted
    assert not [kind for kind, _ in render() if kind == "PrometheusRule"]


def test_bindings_name_roles_and_an_account_that_exist(render):
    objects = render(VALUES["everything"])
    bindings = [manifest for (kind, _), manifest in objects.items() if kind.endswith("Binding")]
    assert len(bindings) == 3
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in objects
        assert all((subject["kind"], subject["name"]) in objects for subject in binding["subjects"])


def test_the_lease_it_may_write_is_the_one_it_writes(render):
    role = render()["Role", "supernode-operator"]
    assert [rule["resourceNames"] for rule in role["rules"] if "patch" in rule["verbs"]] == [[Settings().lease_name]]
    assert role["metadata"]["namespace"] == "supernode", "the Lease lies beside the pods"


def test_config_maps_are_read_where_device_plugins_report_and_nowhere_else(render):
    rules = {
        (kind, name, found["metadata"].get("namespace")): rule["verbs"]
        for (kind, name), found in render().items()
        if kind in ("ClusterRole", "Role") and "rules" in found
        for rule in found["rules"]
        if "configmaps" in rule["resources"]
    }
    assert rules == {
        ("ClusterRole", "supernode-operator", None): ["create", "patch"],
        ("Role", "supernode-operator-card-reports", deviceinfo.NAMESPACE): ["list", "watch"],
    }
    without = render({"rbac": {"cardReports": False}})
    assert not [name for _, name in without if name.endswith("-card-reports")]
    assert len(without) == len(render()) - 2


def test_lease_times_of_the_chart_are_those_of_the_program(render):
    deployment = render()["Deployment", "supernode-operator"]
    assert parse_settings(deployment["spec"]["template"]["spec"]["containers"][0]["args"]).timing == Timing()


def test_no_right_is_granted_by_wildcard(render):
    rules = [
        rule
        for (kind, _), manifest in render().items()
        if kind in ("ClusterRole", "Role")
        for rule in manifest["rules"]
    ]
    assert all("*" not in rule[field] for rule in rules for field in ("apiGroups", "resources", "verbs"))


@pytest.mark.parametrize("chart_path", CHARTS, ids=lambda path: path.name)
def test_versions_agree(chart_path):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    metadata = yaml.safe_load((chart_path / "Chart.yaml").read_text())
    assert metadata["version"] == metadata["appVersion"] == version
