"""What a worker's processes are told about the group, as environment variables. A variable the user sets always wins.

Every container of every runtime:

SUPERNODE_JOB
    name of the TrainingJob
SUPERNODE_RANK
    rank of this member, from 0; ranks follow the machines depth-first
SUPERNODE_WORLD_SIZE
    members of the group: pods, not cards
SUPERNODE_CARDS, SUPERNODE_CARDS_PER_MEMBER
    this member's cards as indices within the node (`0-7`), and how many they are
SUPERNODE_MASTER_ADDR
    DNS name of rank 0
SUPERNODE_DOMAIN_<LEVEL>
    the domain of that level this member lies in: SUPERNODE_DOMAIN_RACK, SUPERNODE_DOMAIN_SUPERNODE

The runtime `pytorch` adds:

MASTER_ADDR, MASTER_PORT
    rank 0 and port 29500: what `init_method="env://"` reads
WORLD_SIZE, RANK
    members and rank, right for one process per pod; torchrun sets them anew in the processes it starts
NNODES, NODE_RANK, NPROC_PER_NODE
    members, rank and cards per member, for scripts that hand them to torchrun as options
PET_NNODES, PET_NODE_RANK, PET_NPROC_PER_NODE, PET_MASTER_ADDR, PET_MASTER_PORT
    the same under the names torchrun takes its own options from (`torch/distributed/argparse_util.py`), so that a bare
    `torchrun train.py` is enough. They refer to the plain ones and stand after the user's: a MASTER_PORT of the user's
    reaches torchrun too

What the user sets through `envFrom` cannot be seen here, and Kubernetes lets `env` win over it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from supernode.api.trainingjob import Runtime

Json = dict[str, Any]

MASTER_PORT = 29500
"""torchrun's own default."""

_TORCHRUN = ("NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT")


def group_env(
    *, job: str, rank: int, members: int, cards: str, cards_per_member: int, master: str, domains: Mapping[str, str]
) -> dict[str, str]:
    """The SUPERNODE_ variables of one member. cards: indices as ranges; domains: level to domain name."""
    env = {
        "SUPERNODE_JOB": job,
        "SUPERNODE_RANK": str(rank),
        "SUPERNODE_WORLD_SIZE": str(members),
        "SUPERNODE_CARDS": cards,
        "SUPERNODE_CARDS_PER_MEMBER": str(cards_per_member),
        "SUPERNODE_MASTER_ADDR": master,
    }
    return env | {f"SUPERNODE_DOMAIN_{_variable(level)}": name for level, name in domains.items()}


def runtime_env(runtime: Runtime, *, rank: int, members: int, cards_per_member: int, master: str) -> dict[str, str]:
    """What the runtime's launcher reads, besides the SUPERNODE_ variables."""
    if runtime is not Runtime.PYTORCH:
        return {}
    return {
        "MASTER_ADDR": master,
        "MASTER_PORT": str(MASTER_PORT),
        "NNODES": str(members),
        "NODE_RANK": str(rank),
        "NPROC_PER_NODE": str(cards_per_member),
        "WORLD_SIZE": str(members),
        "RANK": str(rank),
    }


def derived_env(runtime: Runtime) -> dict[str, str]:
    """Variables that refer to others by `$(NAME)`; they stand after the user's own, whose values they then take."""
    return {f"PET_{name}": f"$({name})" for name in _TORCHRUN} if runtime is Runtime.PYTORCH else {}


def merge_env(user: Iterable[Json], *, before: Mapping[str, str], after: Mapping[str, str]) -> list[Json]:
    """The user's variables between ours: those before may be referred to by the user's, those after refer to them."""
    own = list(user)
    taken = {variable.get("name") for variable in own}

    def ours(variables: Mapping[str, str]) -> list[Json]:
        return [{"name": name, "value": value} for name, value in variables.items() if name not in taken]

    return [*ours(before), *own, *ours(after)]


def _variable(level: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", level.upper())
