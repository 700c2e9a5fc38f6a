"""PyTorch: torchrun, or one process per pod with `init_method="env://"`.

torchrun takes every option from a variable named PET_ and the option (`torch/distributed/argparse_util.py`), so a bare
`torchrun train.py` is enough. Its default, static rendezvous keeps ranks in placement order. With
`PET_RDZV_BACKEND=c10d` the rendezvous is elastic; torchrun then numbers the nodes by their sorted host names
(`torch/distributed/elastic/rendezvous/dynamic_rendezvous.py`), which up to ten members is placement order. Who hosts
its store is said outright: torchrun would compare the endpoint with the names it knows itself by, and a pod knows
itself by a longer one (`<name>.svc.cluster.local`), so that nobody would.
"""

from collections.abc import Mapping

from supernode.workload.files import GroupFiles
from supernode.workload.placed import PlacedGroup
from supernode.workload.runtimes.launcher import Launcher

MASTER_PORT = 29500
"""torchrun's own default."""

_OPTIONS = ("NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT")


def _environment(group: PlacedGroup, rank: int, _files: GroupFiles) -> dict[str, str]:
    members = str(len(group.members))
    return {
        "MASTER_ADDR": group.master,
        "MASTER_PORT": str(MASTER_PORT),
        "NNODES": members,
        "NODE_RANK": str(rank),
        "NPROC_PER_NODE": str(group.cards_per_member),
        "WORLD_SIZE": members,
        "RANK": str(rank),
        "PET_RDZV_ID": group.job.metadata.name,
        "PET_RDZV_CONF": f"is_host={'false' if rank else 'true'}",
    }


def _elastic(env: Mapping[str, str]) -> bool:
    """On Ascend, torch_npu takes the order of a rank table for that of the processes, however many there are."""
    ranges = (":" in env.get(name, "") for name in ("NNODES", "PET_NNODES"))
    return env.get("PET_RDZV_BACKEND", "static") != "static" or any(ranges)


LAUNCHER = Launcher(
    _environment,
    numbers_itself=_elastic,
    derived={f"PET_{name}": f"$({name})" for name in _OPTIONS} | {"PET_RDZV_ENDPOINT": "$(MASTER_ADDR):$(MASTER_PORT)"},
)
