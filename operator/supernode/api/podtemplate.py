"""The pod template of a TrainingJob: passed on as it is written, known just enough to be checked and kept unchanged.

The fields of a pod and of a container are named here with their outer types. Those that the operator reads are so all
the way down: a template that a pod could not be made of is refused when it is applied, not when it has its cards. The
others are open inside. Naming them is what makes the rule that `workers` cannot be changed hold: CEL compares open
objects by the keys of one of them, and would not see that one unnamed field took the place of another.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from supernode.api.base import ApiModel, Rule, Unique

_SAME = "As in a Kubernetes pod."

Text = Annotated[str | None, Field(description=_SAME)]
Number = Annotated[int | None, Field(description=_SAME)]
Flag = Annotated[bool | None, Field(description=_SAME)]
Strings = Annotated[tuple[str, ...] | None, Field(description=_SAME)]
Labels = Annotated[Mapping[str, str] | None, Field(description=_SAME)]
Struct = Annotated[Mapping[str, Any] | None, Field(description=_SAME)]
Structs = Annotated[tuple[Mapping[str, Any], ...] | None, Field(description=_SAME)]


class _Part(ApiModel):
    """A part of a pod whose fields are those of Kubernetes; fields it has not today are kept."""

    model_config = ConfigDict(extra="allow")


class TemplateMetadata(_Part):
    """Labels and annotations for the pods; other fields are kept."""

    labels: Mapping[str, str] = Field(default_factory=dict, description="Labels of every pod.")
    annotations: Mapping[str, str] = Field(default_factory=dict, description="Annotations of every pod.")


class EnvVar(_Part):
    """A variable of a container, as in Kubernetes."""

    name: Text = None
    value: Text = None
    value_from: Struct = None


class Resources(_Part):
    """What a container needs of its node, as in Kubernetes."""

    limits: Struct = None
    requests: Struct = None
    claims: Structs = None


class VolumeMount(_Part):
    """A volume in a container, as in Kubernetes."""

    name: Text = None
    mount_path: Text = None
    mount_propagation: Text = None
    read_only: Flag = None
    recursive_read_only: Text = None
    sub_path: Text = None
    sub_path_expr: Text = None


class InitContainer(_Part):
    """A container that runs before the others, or beside them if it is always restarted, as in Kubernetes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = Field(
        description="Name of the container, unique in the pod."
    )
    image: str = Field(min_length=1, max_length=1024, description="Image of the container.")
    command: Strings = None
    args: Strings = None
    working_dir: Text = None
    ports: Structs = None
    env_from: Structs = None
    env: Annotated[tuple[EnvVar, ...] | None, Field(description=_SAME)] = None
    resources: Annotated[Resources | None, Field(description=_SAME)] = None
    resize_policy: Structs = None
    restart_policy: Text = None
    restart_policy_rules: Structs = None
    volume_mounts: Annotated[tuple[VolumeMount, ...] | None, Field(description=_SAME)] = None
    volume_devices: Structs = None
    liveness_probe: Struct = None
    readiness_probe: Struct = None
    startup_probe: Struct = None
    lifecycle: Struct = None
    termination_message_path: Text = None
    termination_message_policy: Text = None
    image_pull_policy: Text = None
    security_context: Struct = None
    stdin: Flag = None
    stdin_once: Flag = None
    tty: Flag = None


class Container(InitContainer):
    """A container of the pod, as in Kubernetes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.restartPolicy) || self.restartPolicy != 'Always'",
            message="restartPolicy must not be Always: a worker that is restarted for ever never ends; use Never or "
            "OnFailure",
            holds=lambda container: container.restart_policy != "Always",
            field=".restartPolicy",
        ),
    )


class NodeSelectorTerm(_Part):
    """One of the alternatives of a node selector, as in Kubernetes."""

    match_expressions: Structs = None
    match_fields: Structs = None


class NodeSelector(_Part):
    """What a pod asks of its node, as in Kubernetes."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...] | None, Field(description=_SAME)] = None


class NodeAffinity(_Part):
    """Nodes the pod may run on, as in Kubernetes."""

    required_during_scheduling_ignored_during_execution: Annotated[NodeSelector | None, Field(description=_SAME)] = None
    preferred_during_scheduling_ignored_during_execution: Structs = None


class Affinity(_Part):
    """Nodes and pods the pod keeps close to or away from, as in Kubernetes."""

    node_affinity: Annotated[NodeAffinity | None, Field(description=_SAME)] = None
    pod_affinity: Struct = None
    pod_anti_affinity: Struct = None


class PodSpec(_Part):
    """A Kubernetes PodSpec."""

    containers: Annotated[tuple[Container, ...], Field(min_length=1, max_length=64), Unique("name")] = Field(
        description="Containers of the pod. The cards go to the one that names the card's resource, else to the first."
    )
    init_containers: Annotated[
        tuple[InitContainer, ...] | None, Field(max_length=64, description=_SAME), Unique("name")
    ] = None
    volumes: Structs = None
    restart_policy: Text = None
    termination_grace_period_seconds: Number = None
    active_deadline_seconds: Number = None
    dns_policy: Text = None
    dns_config: Struct = None
    node_selector: Labels = None
    node_name: Annotated[str | None, Field(description="Not to be set: placement chooses the nodes.")] = None
    affinity: Annotated[Affinity | None, Field(description=_SAME)] = None
    tolerations: Structs = None
    topology_spread_constraints: Structs = None
    scheduler_name: Text = None
    scheduling_gates: Structs = None
    readiness_gates: Structs = None
    priority_class_name: Text = None
    priority: Number = None
    preemption_policy: Text = None
    runtime_class_name: Text = None
    service_account_name: Text = None
    service_account: Text = None
    automount_service_account_token: Flag = None
    image_pull_secrets: Structs = None
    security_context: Struct = None
    host_network: Flag = None
    host_pid: Flag = Field(default=None, alias="hostPID")
    host_ipc: Flag = Field(default=None, alias="hostIPC")
    host_users: Flag = None
    host_aliases: Structs = None
    hostname: Text = None
    hostname_override: Text = None
    set_hostname_as_fqdn: Flag = Field(default=None, alias="setHostnameAsFQDN")
    subdomain: Text = None
    share_process_namespace: Flag = None
    enable_service_links: Flag = None
    overhead: Struct = None
    os: Struct = None
    resources: Struct = None
    resource_claims: Structs = None

    rules: ClassVar[tuple[Rule, ...]] = (
        # Such a pod is bound at its creation, so that most would be found out of place and be replaced for ever.
        Rule(
            cel="!has(self.nodeName) || self.nodeName == ''",
            message="nodeName must not be set: a worker's node is the one its cards were chosen on; remove it, "
            "topology and profile say where workers may lie",
            holds=lambda spec: not spec.node_name,
            field=".nodeName",
        ),
        Rule(
            cel="!has(self.restartPolicy) || self.restartPolicy in ['Never', 'OnFailure']",
            message="restartPolicy: a worker that is restarted for ever never ends; use Never or OnFailure",
            holds=lambda spec: spec.restart_policy in (None, "Never", "OnFailure"),
            field=".restartPolicy",
        ),
    )


class PodTemplate(ApiModel):
    """What every pod of the job looks like."""

    metadata: TemplateMetadata = Field(
        default_factory=TemplateMetadata, description="Labels and annotations of every pod."
    )
    spec: PodSpec = Field(description="A Kubernetes PodSpec: containers, volumes, tolerations and so on.")

    def to_dict(self) -> dict[str, Any]:
        """The template as the user wrote it: nothing added, nothing left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
