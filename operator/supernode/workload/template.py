"""Reading the user's pod template: its containers, and which of them asks for the cards."""

from collections.abc import Collection, Iterator
from typing import Any

from supernode.api.quantities import whole_number
from supernode.api.trainingjob import TrainingJob
from supernode.workload.errors import InvalidSpec

Json = dict[str, Any]

PATH = "spec.workers.template"

_RESERVED = "supernode-"
"""How the names of volumes, init containers and claims begin that are added to the template."""


def pod_template(job: TrainingJob) -> Json:
    """The job's template as the user wrote it: a fresh copy, with nothing defaulted."""
    return job.spec.workers.template.to_dict()


def all_containers(pod_spec: Json) -> Iterator[tuple[str, Json]]:
    """Every container with its path in the pod spec: init containers first, as they run."""
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod_spec.get(kind) or ()):
            yield f"{kind}[{index}]", container


def amounts(container: Json) -> dict[str, Json]:
    """What a container asks for, by `requests` and `limits`; each may be empty."""
    resources = container.get("resources") or {}
    return {part: resources.get(part) or {} for part in ("requests", "limits")}


def named_resources(pod_spec: Json, known: Collection[str]) -> dict[str, str]:
    """Which of the known resources the template's containers name, each with the path of the first that does."""
    named: dict[str, str] = {}
    for path, container in all_containers(pod_spec):
        for resource in sorted(known):
            if _asks_for(container, resource):
                named.setdefault(resource, path)
    return named


def card_container(pod_spec: Json, resource: str) -> Json:
    """The container that gets the cards: the one that names the resource, else the first.

    Raises `InvalidSpec` when an init container or a second container names it too: the cards of a worker are one
    set, and device plugins hand a pod's pinned set to one container only.
    """
    asking = [(path, container) for path, container in all_containers(pod_spec) if _asks_for(container, resource)]
    for path, _ in asking:
        if path.startswith("initContainers") or path != asking[0][0]:
            raise InvalidSpec(
                f"{PATH}.spec.{path}.resources",
                f"names {resource}, but only one container of a worker, and no init container, may hold its cards; "
                "remove it here",
            )
    container: Json = asking[0][1] if asking else pod_spec["containers"][0]
    return container


def requested_cards(pod_spec: Json, resource: str) -> int | None:
    """How many cards the template asks for; None when it names none, or asks for 0 of them. Raises `InvalidSpec`, as
    `card_container`."""
    container = card_container(pod_spec, resource)
    asked = {given[resource] for given in amounts(container).values() if given.get(resource) is not None}
    field = f"{PATH}.spec.containers.{container['name']}.resources"
    counts = {text: whole_number(text) for text in sorted(map(str, asked))}
    for text, count in counts.items():
        if count is None:
            raise InvalidSpec(field, f"{resource} is {text!r}; cards are whole: write a number such as 8")
    if len(set(counts.values())) > 1:
        raise InvalidSpec(field, f"requests and limits of {resource} differ ({' and '.join(counts)}); make them equal")
    return next(iter(counts.values()), None) or None


def check_names(pod_spec: Json) -> None:
    """Raises `InvalidSpec` where something that is added to a pod may have the same name."""
    parts = list(all_containers(pod_spec))
    for kind in ("volumes", "resourceClaims"):
        parts += [(f"{kind}[{index}]", each) for index, each in enumerate(pod_spec.get(kind) or ())]
    for path, each in parts:
        if str(each.get("name")).startswith(_RESERVED):
            raise InvalidSpec(
                f"{PATH}.spec.{path}.name",
                f"{each['name']!r} begins with {_RESERVED}, as names do that the operator adds; rename it",
            )


def _asks_for(container: Json, resource: str) -> bool:
    """Whether it names the resource, unless it says that it wants none."""
    named = [given[resource] for given in amounts(container).values() if given.get(resource) is not None]
    return any(whole_number(amount) != 0 for amount in named)
