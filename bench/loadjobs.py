"""What is submitted: jobs of one shape, and for the floor the very pods they become, without any operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.loadapi import NODES, Api
from bench.loadbed import NAMESPACE, Shape
from supernode.api.profile import SuperNodeProfile
from supernode.api.reading import parse
from supernode.api.trainingjob import TrainingJob
from supernode.topology.node import Member
from supernode.topology.profile import Profile
from supernode.workload import PlacedGroup, render_files, render_pod

Json = dict[str, Any]

PROFILES = "/apis/supernode.io/v1alpha1/supernodeprofiles"


@dataclass(frozen=True, slots=True)
class Work:
    """`jobs` jobs of `members` pods of `cards` cards each on machines of one shape; required: a level, or none."""

    jobs: int
    members: int
    shape: Shape
    cards: int
    required: str | None = None
    prefix: str = "job"

    @property
    def pods(self) -> int:
        return self.jobs * self.members

    def documents(self) -> list[Json]:
        """The TrainingJobs."""
        return [self._job(number) for number in range(self.jobs)]

    def _job(self, number: int) -> Json:
        template = {
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "train", "image": "example.com/train:1", "command": ["train"]}],
            }
        }
        spec: Json = {
            "profile": self.shape.profile,
            "workers": {"replicas": self.members, "cardsPerWorker": self.cards, "template": template},
        }
        if self.required:
            spec["topology"] = {"required": self.required}
        return {
            "apiVersion": "supernode.io/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": f"{self.prefix}-{number}", "namespace": NAMESPACE},
            "spec": spec,
        }


async def pods_of(work: Work, api: Api) -> list[Json]:
    """The pods the operator would make of the work, laid over the shape's nodes in order, owned by nobody."""
    document = await api.request("GET", f"{PROFILES}/{work.shape.profile}")
    model = parse(SuperNodeProfile, document)
    profile = Profile.from_spec(work.shape.profile, model.spec)
    selector = dict(model.spec.node_selector).items()
    nodes = [n for n in await api.every(NODES) if selector <= n["metadata"]["labels"].items()]
    places = [
        (node["metadata"]["name"], ((1 << work.cards) - 1) << start)
        for node in nodes
        for start in range(0, work.shape.cards - work.cards + 1, work.cards)
    ]
    pods = []
    for number, document in enumerate(work.documents()):
        job = parse(TrainingJob, document | {"metadata": document["metadata"] | {"uid": "0"}})
        seats = places[number * work.members : (number + 1) * work.members]
        levels = profile.level_names[profile.node_index :]
        members = tuple(
            Member(rank, "sn", node, cards, {level: f"{node}-{level}" for level in levels})
            for rank, (node, cards) in enumerate(seats)
        )
        group = PlacedGroup(job, "00000000-0000-0000-0000-000000000000", profile, members)
        files = render_files(group)
        for rank in range(work.members):
            pod = render_pod(group, rank, files, predicate_time_ns=1)
            del pod["metadata"]["ownerReferences"]
            pods.append(pod)
    return pods
