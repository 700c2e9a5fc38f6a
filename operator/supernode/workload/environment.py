"""What a worker's processes are told about the group, as environment variables. A variable the user sets always wins.

Every container of every runtime:

SUPERNODE_JOB
    name of the TrainingJob
SUPERNODE_RANK
    rank of this member, from 0; ranks follow the machines depth-first
SUPERNODE_WORLD_SIZE
    members of the group: pods, not cards
SUPERNODE_CARDS, SUPERNODE_CARDS_PER_MEMBER
    this member's cards as indices within the node (`0-7`), and how many they are; only the number where it is not
    sure which ones the member gets (`supernode.workload.pinning`)
SUPERNODE_MASTER_ADDR
    DNS name of rank 0; `localhost` in a group of one, which needs no Service. It resolves from when the Service is
    there, which comes once all members have nodes, and rank 0 has an address, which may be after others have started
SUPERNODE_DOMAIN_<LEVEL>
    the domain of that level this member lies in: SUPERNODE_DOMAIN_RACK, SUPERNODE_DOMAIN_SUPERNODE

SUPERNODE_HOSTNAMES
    DNS names of all members in rank order, separated by commas (`supernode.workload.hostnames`)
SUPERNODE_GROUP_FILE
    where the group's document is mounted, in groups of more than one member (`supernode.workload.document`)
RANK_TABLE_FILE
    where HCCL's rank table is mounted, if the profile names its format and the nodes publish the addresses

What each runtime adds is in `supernode.workload.runtimes`. A profile may add variables of its machine: they may refer
to all of these, behind which they stand, and have none of their names.

What the user sets through `envFrom` cannot be seen here, and Kubernetes lets `env` win over it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from supernode.topology.ranges import format_cards
from supernode.workload.document import DOCUMENT
from supernode.workload.files import GroupFiles
from supernode.workload.hostnames import HOSTNAMES
from supernode.workload.pinning import cards_are_sure
from supernode.workload.placed import PlacedGroup
from supernode.workload.ranktable import RANK_TABLE
from supernode.workload.runtimes import LAUNCHERS, Value
from supernode.workload.template import all_containers, pod_template

Json = dict[str, Any]


def worker_env(group: PlacedGroup, rank: int, files: GroupFiles) -> tuple[dict[str, Value], dict[str, Value]]:
    """(the variables of a rank that stand before the user's own, those that refer to others and stand after)."""
    member, launcher = group.members[rank], LAUNCHERS[group.job.spec.runtime]
    env: dict[str, Value] = {
        "SUPERNODE_JOB": group.job.metadata.name,
        "SUPERNODE_RANK": str(rank),
        "SUPERNODE_WORLD_SIZE": str(len(group.members)),
        **({"SUPERNODE_CARDS": format_cards(member.cards)} if cards_are_sure(group.profile, member.cards) else {}),
        "SUPERNODE_CARDS_PER_MEMBER": str(group.cards_per_member),
        "SUPERNODE_MASTER_ADDR": group.master,
    }
    env |= {f"SUPERNODE_DOMAIN_{_variable(level)}": name for level, name in member.domains.items()}
    for variable, name in (("SUPERNODE_GROUP_FILE", DOCUMENT), ("RANK_TABLE_FILE", RANK_TABLE)):
        if name in files.names:
            env[variable] = files.path(name)
    if HOSTNAMES in files.names:
        env["SUPERNODE_HOSTNAMES"] = files.reference(HOSTNAMES)
    elif len(group.members) == 1:
        env["SUPERNODE_HOSTNAMES"] = group.master
    return {**env, **launcher.environment(group, rank, files)}, dict(launcher.derived)


def merge_env(
    user: Iterable[Json], *, before: Mapping[str, Value], after: Mapping[str, Value], fixed: Mapping[str, Value]
) -> list[Json]:
    """The user's variables between ours: those before may be referred to by the user's, those after refer to them.

    The user's win over both; the fixed ones win over the user's.
    """
    pinned = [_entry(name, value) for name, value in fixed.items()]
    own = [*pinned, *(variable for variable in user if variable.get("name") not in fixed)]
    taken = {variable.get("name") for variable in own}

    def ours(variables: Mapping[str, Value]) -> list[Json]:
        return [_entry(name, value) for name, value in variables.items() if name not in taken]

    return [*ours(before), *own, *ours(after)]


def contradicted(group: PlacedGroup, files: GroupFiles) -> list[str]:
    """Variables the user sets to another value than some rank would be given, by name. Theirs count."""
    ranks = {0, len(group.members) - 1}
    ours = [before | after for before, after in (worker_env(group, rank, files) for rank in sorted(ranks))]
    return sorted(
        {
            entry["name"]
            for _, container in all_containers(pod_template(group.job)["spec"])
            for entry in container.get("env") or ()
            for env in ours
            if entry.get("name") in env and entry != _entry(entry["name"], env[entry["name"]])
        }
    )


def _entry(name: str, value: Value) -> Json:
    return {"name": name, "value" if isinstance(value, str) else "valueFrom": value}


@cache
def _variable(level: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", level.upper())
