"""TrainingJob: what a training engineer writes."""

import re
from collections.abc import Mapping
from enum import StrEnum
from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from supernode.api.base import ApiModel, ObjectMeta, ObjectName, Precision, Rule, StatusModel, Unique, immutable
from supernode.api.cardgroup import PRIORITY_LIMIT, Estimate
from supernode.api.conditions import Condition
from supernode.api.names import API_VERSION
from supernode.api.podtemplate import PodTemplate
from supernode.api.topology import SHAPE_PRODUCT, Objective, Topology

MAX_NAME = 52
"""Pods are called <job>-<rank>; a host name has at most 63 characters."""

_RECREATE = "delete the job and create a new one"


class Runtime(StrEnum):
    """By what a worker finds its peers."""

    PLAIN = "plain"
    PYTORCH = "pytorch"
    MINDSPORE = "mindspore"
    JAX = "jax"
    MPI = "mpi"


class JobPhase(StrEnum):
    """A job's state in one word, for people; never an input."""

    PENDING = "Pending"
    STARTING = "Starting"
    RUNNING = "Running"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STALLED = "Stalled"


class Workers(ApiModel):
    """The job's pods: how many, how large, and what they run."""

    replicas: Annotated[int, Field(ge=1, le=131072)] | None = Field(
        default=None, description="Number of workers, one pod each. Either this or spec.cards."
    )
    cards_per_worker: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Cards of one worker. Absent: the natural worker of the profile, a whole node."
    )
    template: PodTemplate = Field(description="The pod every worker runs.")


class Parallelism(ApiModel):
    """How the model is split. Blocks are derived from it when topology.blocks is absent."""

    tensor: int = Field(default=1, ge=1, le=65536, description="Tensor-parallel degree, in cards.")
    pipeline: int = Field(default=1, ge=1, le=65536, description="Pipeline-parallel degree.")
    data: Annotated[int, Field(ge=1, le=131072)] | None = Field(
        default=None, description="Data-parallel degree. Absent: what the other degrees leave of the cards."
    )
    expert: int = Field(default=1, ge=1, le=65536, description="Expert-parallel degree, laid over data and context.")
    context: int = Field(default=1, ge=1, le=65536, description="Context-parallel degree.")


class FaultPolicy(ApiModel):
    """What happens when pods fail."""

    max_restarts: int = Field(
        default=3,
        ge=0,
        le=10000,
        description="How often failed pods are replaced, or containers restarted in their place as the template's "
        "restartPolicy lets them, before the job fails.",
    )


def total_cards(spec: "TrainingJobSpec") -> int | None:
    """Cards of the whole job, or None when only a profile can tell."""
    if spec.cards is not None:
        return spec.cards
    if spec.workers.replicas is not None and spec.workers.cards_per_worker is not None:
        return spec.workers.replicas * spec.workers.cards_per_worker
    return None


def _members(spec: "TrainingJobSpec") -> int | None:
    if spec.workers.replicas is not None:
        return spec.workers.replicas
    if spec.cards is not None and spec.workers.cards_per_worker is not None:
        return spec.cards // spec.workers.cards_per_worker
    return None


def _blocks_divide(spec: "TrainingJobSpec") -> bool:
    members = _members(spec)
    return (
        members is None or spec.topology is None or all(members % block.members == 0 for block in spec.topology.blocks)
    )


def _degrees_divide(spec: "TrainingJobSpec") -> bool:
    cards, split = total_cards(spec), spec.parallelism
    if cards is None or split is None:
        return True
    degrees = split.tensor * split.pipeline * split.context
    return cards % degrees == 0 if split.data is None else cards == degrees * split.data


def _shape_fills(spec: "TrainingJobSpec") -> bool:
    shape = spec.topology.shape if spec.topology else None
    return shape is None or total_cards(spec) in (None, prod(shape))


_CARDS = "(has(self.cards) ? self.cards : self.workers.replicas * self.workers.cardsPerWorker)"
_MEMBERS = "(has(self.workers.replicas) ? self.workers.replicas : self.cards / self.workers.cardsPerWorker)"
_DEGREES = "self.parallelism.tensor * self.parallelism.pipeline * self.parallelism.context"


class TrainingJobSpec(ApiModel):
    """The job. After creation only suspend, priority, the time limits and faultPolicy may be changed."""

    cards: Annotated[int, Field(ge=1, le=1048576)] | None = Field(
        default=None, description="Cards of the whole job, split into natural workers. Either this or workers.replicas."
    )
    workers: Workers = Field(description="The job's pods.")
    profile: ObjectName | None = Field(
        default=None,
        min_length=1,
        description="Name of the SuperNodeProfile to use. Absent: any that can hold the job; where the template names "
        "the resource of profiles, one of these.",
    )
    precision: Precision | None = Field(
        default=None, description="Number format the cards must compute in, such as fp8."
    )
    topology: Topology | None = Field(default=None, description="Where the workers may lie relative to each other.")
    parallelism: Parallelism | None = Field(
        default=None, description="How the model is split; blocks are derived from it when topology.blocks is absent."
    )
    runtime: Runtime = Field(
        default=Runtime.PLAIN,
        description="What else workers are told, besides the project's own variables and files: what torchrun, msrun "
        "or JAX reads; with mpi, rank 0 runs the command and reaches the others by ssh.",
    )
    objective: Objective = Field(
        default=Objective.BANDWIDTH, description="What to favour where the fewest domains leave a choice."
    )
    priority: int = Field(
        default=0, ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT, description="Order among waiting jobs, higher first."
    )
    fault_policy: FaultPolicy = Field(default_factory=FaultPolicy, description="What happens when pods fail.")
    suspend: bool = Field(default=False, description="Give the cards back and run no pods until it is false again.")
    active_deadline_seconds: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None,
        description="Seconds from status.startTime, the pulling of images and restarts included, before the job fails.",
    )
    queue_deadline_seconds: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None, description="Seconds the job may wait for cards before it fails."
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2147483647)] | None = Field(
        default=None, description="Seconds after its end when the job is deleted. Absent: it stays."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.cards) != has(self.workers.replicas)",
            message="set exactly one of cards (for natural workers) and workers.replicas; remove or add one",
            holds=lambda s: (s.cards is None) != (s.workers.replicas is None),
            field=".workers",
        ),
        Rule(
            cel="!has(self.cards) || !has(self.workers.cardsPerWorker) "
            "|| self.workers.cardsPerWorker < 1 || self.cards % self.workers.cardsPerWorker == 0",
            message="workers.cardsPerWorker must divide cards; correct one of them",
            holds=lambda s: not s.cards or not s.workers.cards_per_worker or s.cards % s.workers.cards_per_worker == 0,
            field=".workers.cardsPerWorker",
        ),
        Rule(
            cel="!has(self.topology) || !has(self.topology.blocks) "
            "|| !(has(self.workers.replicas) || (has(self.cards) && has(self.workers.cardsPerWorker))) "
            f"|| self.topology.blocks.all(b, b.members < 1 || {_MEMBERS} % b.members == 0)",
            message="topology.blocks: the members of every block must divide the number of workers; correct one",
            holds=_blocks_divide,
            field=".topology.blocks",
        ),
        Rule(
            cel="!has(self.parallelism) "
            "|| !(has(self.cards) || (has(self.workers.replicas) && has(self.workers.cardsPerWorker))) "
            f"|| (has(self.parallelism.data) ? {_CARDS} == {_DEGREES} * self.parallelism.data "
            f": {_DEGREES} < 1 || {_CARDS} % ({_DEGREES}) == 0)",
            message="parallelism: tensor * pipeline * context must divide the job's cards, and times data equal them; "
            "correct a degree",
            holds=_degrees_divide,
            field=".parallelism",
        ),
        Rule(
            cel="!has(self.topology) || !has(self.topology.shape) "
            "|| !(has(self.cards) || (has(self.workers.replicas) && has(self.workers.cardsPerWorker))) "
            f"|| {SHAPE_PRODUCT} == {_CARDS}",
            message="topology.shape: its product must be the job's cards; correct one of them",
            holds=_shape_fills,
            field=".topology.shape",
        ),
        *(
            immutable(name, remedy=_RECREATE)
            for name in (
                "cards",
                "workers",
                "profile",
                "precision",
                "topology",
                "parallelism",
                "runtime",
                "objective",
            )
        ),
    )


class PodCounts(StatusModel):
    """Pods of the job by phase."""

    pending: int = Field(default=0, description="Pods that exist and do not run yet.")
    running: int = Field(default=0, description="Pods that run.")
    succeeded: int = Field(default=0, description="Pods that ended with success.")
    failed: int = Field(default=0, description="Pods that failed.")


class TrainingJobStatus(StatusModel):
    """Where the job stands."""

    observed_generation: int = Field(default=0, description="Generation of the spec this status was made from.")
    conditions: Annotated[tuple[Condition, ...], Unique("type")] = Field(
        default=(),
        description="Ready, Reconciling, Stalled, Allocated, Running, Succeeded.",
    )
    phase: JobPhase | None = Field(default=None, description="Summary of the conditions.")
    group: str | None = Field(default=None, description="Name of the job's CardGroup.")
    profile: str | None = Field(default=None, description="Name of the profile the job was placed on.")
    cards: int | None = Field(default=None, description="Cards of the whole job.")
    members: int | None = Field(default=None, description="Workers of the job, one pod each.")
    super_nodes: tuple[str, ...] = Field(default=(), description="SuperNodes the job lies in.")
    spans: Mapping[str, int] = Field(default_factory=dict, description="Domains the job touches, by level name.")
    minimal: Mapping[str, int] = Field(
        default_factory=dict,
        description="The fewest domains any legal placement could have touched then, by level name.",
    )
    proven: bool | None = Field(default=None, description="Whether minimal is exact; otherwise it is a lower bound.")
    estimate: Estimate | None = Field(
        default=None,
        description="What the placement means for collectives; absent where the profile lacks a bandwidth it takes.",
    )
    pods: PodCounts = Field(default_factory=PodCounts, description="Pods by phase.")
    restarts: int = Field(
        default=0,
        description="How often failed pods were replaced; failures at one time count once, and so do those that follow "
        "of pods that were there then.",
    )
    container_restarts: int | None = Field(
        default=None,
        description="How often containers of one pod were restarted in their place, of the pod that is there where it "
        "was most often; with restarts, what faultPolicy.maxRestarts bounds. Sidecars are not counted.",
    )
    restart_of: str | None = Field(
        default=None,
        description="Creation of the newest pod that was there when a failure was counted last.",
        json_schema_extra={"format": "date-time"},
    )
    replacing: tuple[str, ...] = Field(
        default=(), description="uids of failed pods that are counted in restarts and about to be replaced."
    )
    succeeded_ranks: str | None = Field(
        default=None,
        description="Ranks that have ended well on the present cards while others run, such as 0,3-7: they are not "
        "made again, whoever removes their pods.",
    )
    template_taken: bool | None = Field(
        default=None,
        description="Whether the API server has ever taken a pod of the template: what it refuses after that is tried "
        "again.",
    )
    refusals: int | None = Field(
        default=None,
        description="How often in a row nodes did not take pods of the job: kubelets refused them, or the scheduler "
        "could not bind them for a while; gone once all of them run.",
    )
    refused_at: str | None = Field(
        default=None, description="When that was last.", json_schema_extra={"format": "date-time"}
    )
    start_time: str | None = Field(
        default=None,
        description="When the job got its cards, so that its pods may be created; anew after it was suspended or "
        "placed again.",
        json_schema_extra={"format": "date-time"},
    )
    completion_time: str | None = Field(
        default=None, description="When the job succeeded or failed.", json_schema_extra={"format": "date-time"}
    )


def _legal_name(job: "TrainingJob") -> bool:
    name = job.metadata.name
    return not name or (len(name) <= MAX_NAME and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) is not None)


class TrainingJob(ApiModel):
    """A distributed training job on a topology-contiguous group of cards."""

    api_version: Literal["supernode.io/v1alpha1"] = API_VERSION
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: TrainingJobSpec = Field(description="The job; written by people.")
    status: TrainingJobStatus = Field(
        default_factory=TrainingJobStatus, description="Where the job stands; written by the operator."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"size(self.metadata.name) <= {MAX_NAME} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            message=f"metadata.name must be at most {MAX_NAME} letters a-z, digits and -, starting with a letter; "
            "rename it (pods are called <name>-<rank>)",
            holds=_legal_name,
        ),
    )
