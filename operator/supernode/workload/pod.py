"""One member of a placed group as a Pod."""

from collections.abc import Mapping, Sequence
from typing import Any

from supernode.api import names
from supernode.api.trainingjob import TrainingJob
from supernode.topology.profile import Profile
from supernode.topology.ranges import format_cards
from supernode.workload.affinity import on_node
from supernode.workload.claims import use_claims
from supernode.workload.document import DOCUMENT, group_document
from supernode.workload.environment import merge_env, worker_env
from supernode.workload.files import GroupFiles
from supernode.workload.hostnames import HOSTNAMES, hostnames
from supernode.workload.identity import owner_reference, pod_name
from supernode.workload.pinning import pinning_annotations, pinning_env
from supernode.workload.placed import PlacedGroup
from supernode.workload.ranktable import RANK_TABLE, Server, rank_table
from supernode.workload.runtimes import LAUNCHERS
from supernode.workload.ssh import mount_ssh
from supernode.workload.template import all_containers, amounts, card_container, pod_template
from supernode.workload.tolerations import tolerations

Json = dict[str, Any]


def has_rank_table(group: PlacedGroup) -> bool:
    """Whether a table tells the ranks of the group, if its nodes publish the addresses. Raises `InvalidSpec`."""
    if group.profile.rank_table is None or len(group.members) == 1:
        return False
    container = card_container(pod_template(group.job)["spec"], group.profile.resource)
    values = {entry["name"]: entry.get("value") or "" for entry in container.get("env") or () if "name" in entry}
    return not LAUNCHERS[group.job.spec.runtime].numbers_itself(values)


def render_files(group: PlacedGroup, servers: Mapping[str, Server] | None = None) -> GroupFiles:
    """What the workers of a group find as files; none where a group of one has no peers to learn of.

    servers: by node, of every node of the group, if it has a rank table; None for no table. Raises AddressesMissing.
    """
    launcher = LAUNCHERS[group.job.spec.runtime]
    files = launcher.files(group)
    if len(group.members) > 1:
        files[DOCUMENT] = group_document(group)
        if (names_of_all := hostnames(group)) is not None:
            files[HOSTNAMES] = names_of_all
    if servers is not None and has_rank_table(group):
        files[RANK_TABLE] = rank_table(group, servers)
    return GroupFiles.of(group.job, files)


def render_pod(
    group: PlacedGroup, rank: int, files: GroupFiles, *, predicate_time_ns: int, claims: Sequence[Json] = ()
) -> Json:
    """The pod that runs a rank of the group on exactly its node and cards.

    files: what `render_files` made of the same group; predicate_time_ns: wall clock in nanoseconds, used by annotation
    pinning only; claims: what `render_claims` made for this rank.

    What the user wrote in the template stays, except for what the group rests on: name, hostname and subdomain (by
    which members find each other), this project's labels and annotations, the count of cards, and their pinning; and
    the command of MPI workers, which is the ssh daemon.
    Raises `InvalidSpec` when the template cannot be run as a member.
    """
    job, member = group.job, group.members[rank]
    launcher = LAUNCHERS[job.spec.runtime]
    template = pod_template(job)
    metadata: Json = template.get("metadata") or {}
    spec: Json = template["spec"]
    name = pod_name(job.metadata.name, rank)
    spec.setdefault("restartPolicy", "Never")  # a failed member is the group's affair, not the kubelet's
    _set_dns_policy(spec)
    container = card_container(spec, group.profile.resource)
    _give_cards(container, group.profile, member.cards)
    if claims:
        use_claims(spec, container, claims)
    if command := launcher.command(rank):
        container.pop("args", None)
        container["command"] = command
    before, after = worker_env(group, rank, files)
    before |= {name: text for name, text in group.profile.environment.items() if name not in before | after}
    for _, each in all_containers(spec):
        fixed = pinning_env(group.profile, member.cards) if each is container else {}
        each["env"] = merge_env(each.get("env") or (), before=before, after=after, fixed=fixed)
    if files.names:
        files.mount(spec, container)
    if launcher.ssh:
        mount_ssh(spec, container, job)
    spec["affinity"] = on_node(spec.get("affinity"), member.node)
    spec["tolerations"] = tolerations(spec.get("tolerations") or (), group.profile.tolerated)
    spec["hostname"], spec["subdomain"] = name, job.metadata.name
    annotations = {names.ANNOTATION_GROUP_UID: group.uid, names.ANNOTATION_CARDS: format_cards(member.cards)}
    if files.names:
        annotations[names.ANNOTATION_FILES] = files.digest
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata,
            "name": name,
            "namespace": job.metadata.namespace,
            "labels": (metadata.get("labels") or {}) | _labels(job, rank),
            "annotations": (metadata.get("annotations") or {})
            | annotations
            | pinning_annotations(group.profile, member.cards, predicate_time_ns),
            "ownerReferences": [owner_reference(job)],
        },
        "spec": spec,
    }


def _labels(job: TrainingJob, rank: int) -> dict[str, str]:
    return {names.LABEL_JOB: job.metadata.name, names.LABEL_GROUP: job.metadata.name, names.LABEL_RANK: str(rank)}


def _set_dns_policy(spec: Json) -> None:
    """On the node's network a pod would ask the node's resolver, which knows no Service and so none of the members;
    also with ClusterFirst, the default of the API, which templates taken from a cluster have written out."""
    if spec.get("hostNetwork") and spec.get("dnsPolicy") in (None, "", "ClusterFirst"):
        spec["dnsPolicy"] = "ClusterFirstWithHostNet"


def _give_cards(container: Json, profile: Profile, cards: int) -> None:
    """The count stays on the pod, so that scheduler and kubelet account for the cards as for anyone's; or else claims
    do so, and then a count beside them would ask for the cards twice."""
    count = {} if profile.pinning.devices else {profile.resource: str(cards.bit_count())}
    resources = dict(container.get("resources") or {})
    for part, given in amounts(container).items():
        others = {name: value for name, value in given.items() if name != profile.resource}
        if others or count:
            resources[part] = others | count
        else:
            resources.pop(part, None)
    container["resources"] = resources
