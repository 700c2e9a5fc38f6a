"""MindSpore: msrun with one process per card, or processes that read the rank table.

msrun takes options only: `msrun --worker_num=$MS_WORKER_NUM --local_worker_num=$MS_LOCAL_WORKER
--master_addr=$MS_SCHED_HOST --master_port=$MS_SCHED_PORT --node_rank=$MS_NODE_RANK train.py`. The names of these
variables are those the vendor's own operator gives (Ascend/mind-cluster, ascend-operator).

msrun asks for the address of a name once, ends if there is none, and is the master if the address is its own
(mindspore, `parallel/cluster/process_entity/_utils.py`). Rank 0 has its own address, so that no name of an earlier
incarnation can mislead it. The others have a name, because their pods are made before that address is known: a script
has to wait until it resolves, unlike with the vendor's operator, which gives an address.
"""

from supernode.workload.files import GroupFiles
from supernode.workload.placed import PlacedGroup
from supernode.workload.runtimes.launcher import Launcher, Value

SCHEDULER_PORT = 8118
"""msrun's own default."""

_OWN_ADDRESS: Value = {"fieldRef": {"fieldPath": "status.podIP"}}


def _environment(group: PlacedGroup, rank: int, _files: GroupFiles) -> dict[str, Value]:
    return {
        "MS_WORKER_NUM": str(group.cards),
        "MS_LOCAL_WORKER": str(group.cards_per_member),
        "MS_SCHED_HOST": group.master if rank or len(group.members) == 1 else _OWN_ADDRESS,
        "MS_SCHED_PORT": str(SCHEDULER_PORT),
        "MS_NODE_RANK": str(rank),
    }


LAUNCHER = Launcher(_environment)
