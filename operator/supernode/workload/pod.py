"""One member of a placed group as a Pod."""

from collections.abc import Mapping
from typing import Any

from supernode.api import names
from supernode.api.trainingjob import TrainingJob
from supernode.topology.ledger import Located
from supernode.topology.profile import Profile
from supernode.topology.ranges import format_cards
from supernode.workload.affinity import on_node
from supernode.workload.environment import derived_env, group_env, merge_env, runtime_env
from supernode.workload.errors import InvalidSpec
from supernode.workload.identity import master_address, owner_reference, pod_name
from supernode.workload.pinning import pinning_annotations, pinning_env
from supernode.workload.shape import WorkerShape
from supernode.workload.template import PATH, all_containers, card_container, pod_template

Json = dict[str, Any]


def render_pod(
    job: TrainingJob,
    member: Located,
    *,
    domains: Mapping[str, str],
    shape: WorkerShape,
    profile: Profile,
    group_uid: str,
    predicate_time_ns: int,
) -> Json:
    """The pod that runs `member` of `job` on exactly its node and cards.

    domains: level to name of the member's domains, as far as known; group_uid: uid of the job's CardGroup;
    predicate_time_ns: wall clock in nanoseconds, used by annotation pinning only.

    What the user wrote in the template stays, except for what the group rests on: name, hostname and subdomain (by
    which members find each other), this project's labels and annotations, the count of cards, and their pinning.
    The job's CardGroup bears the job's name.
    Raises `InvalidSpec` when the template cannot be run as a member.
    """
    template = pod_template(job)
    metadata: Json = template.get("metadata") or {}
    spec: Json = template["spec"]
    name = pod_name(job.metadata.name, member.rank)
    _set_restart_policy(spec)
    _give_cards(spec, profile, member.cards, shape.cards_per_member)
    _set_environment(spec, job, member, domains, shape)
    spec["affinity"] = on_node(spec.get("affinity"), member.node)
    spec["hostname"], spec["subdomain"] = name, job.metadata.name
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata,
            "name": name,
            "namespace": job.metadata.namespace,
            "labels": (metadata.get("labels") or {}) | _labels(job, member.rank),
            "annotations": (metadata.get("annotations") or {})
            | {names.ANNOTATION_GROUP_UID: group_uid, names.ANNOTATION_CARDS: format_cards(member.cards)}
            | pinning_annotations(profile, member.cards, predicate_time_ns),
            "ownerReferences": [owner_reference(job)],
        },
        "spec": spec,
    }


def _labels(job: TrainingJob, rank: int) -> dict[str, str]:
    return {names.LABEL_JOB: job.metadata.name, names.LABEL_GROUP: job.metadata.name, names.LABEL_RANK: str(rank)}


def _set_restart_policy(spec: Json) -> None:
    """Never unless the user says OnFailure: a failed member is the group's affair, not the kubelet's."""
    if spec.setdefault("restartPolicy", "Never") not in ("Never", "OnFailure"):
        raise InvalidSpec(
            f"{PATH}.spec.restartPolicy",
            f"is {spec['restartPolicy']!r}: a worker that is restarted for ever never ends; use Never or OnFailure",
        )


def _give_cards(spec: Json, profile: Profile, cards: int, count: int) -> None:
    """Requests and limits stay on the pod, so that scheduler and kubelet account for the cards as for anyone's."""
    container = card_container(spec, profile.resource)
    resources = dict(container.get("resources") or {})
    for part in ("requests", "limits"):
        resources[part] = {**(resources.get(part) or {}), profile.resource: str(count)}
    container["resources"] = resources
    pinned = pinning_env(profile, cards)
    if pinned:
        keys = {variable["name"] for variable in pinned}
        container["env"] = [*pinned, *(entry for entry in container.get("env") or () if entry.get("name") not in keys)]


def _set_environment(
    spec: Json, job: TrainingJob, member: Located, domains: Mapping[str, str], shape: WorkerShape
) -> None:
    master = master_address(job)
    runtime = job.spec.runtime
    before = group_env(
        job=job.metadata.name,
        rank=member.rank,
        members=shape.members,
        cards=format_cards(member.cards),
        cards_per_member=shape.cards_per_member,
        master=master,
        domains=domains,
    ) | runtime_env(
        runtime, rank=member.rank, members=shape.members, cards_per_member=shape.cards_per_member, master=master
    )
    after = derived_env(runtime)
    for _, container in all_containers(spec):
        container["env"] = merge_env(container.get("env") or (), before=before, after=after)
