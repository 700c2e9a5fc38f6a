"""JAX: one process per worker, which drives all of the worker's cards.

`jax.distributed.initialize()` reads the address of the coordinator and the local devices from the environment
(`jax/_src/distributed.py`); the number of processes and the process's own are for the script to pass on.
"""

from supernode.workload.files import GroupFiles
from supernode.workload.placed import PlacedGroup
from supernode.workload.runtimes.launcher import Launcher

COORDINATOR_PORT = 8476
"""What JAX itself uses where it detects a cluster."""


def _environment(group: PlacedGroup, rank: int, _files: GroupFiles) -> dict[str, str]:
    return {
        "JAX_COORDINATOR_ADDRESS": f"{group.master}:{COORDINATOR_PORT}",
        "JAX_NUM_PROCESSES": str(len(group.members)),
        "JAX_PROCESS_ID": str(rank),
        # The container numbers its own cards from 0.
        "JAX_LOCAL_DEVICE_IDS": ",".join(map(str, range(group.cards_per_member))),
    }


LAUNCHER = Launcher(_environment)
