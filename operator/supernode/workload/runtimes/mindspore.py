"""MindSpore: msrun with one process per card, or processes that read the rank table.

msrun takes options only: `msrun --worker_num=$MS_WORKER_NUM --local_worker_num=$MS_LOCAL_WORKER
--master_addr=$MS_SCHED_HOST --master_port=$MS_SCHED_PORT --node_rank=$MS_NODE_RANK train.py`. The names are those the
vendor's own operator gives (Ascend/mind-cluster, ascend-operator), so that scripts written for it run unchanged.
"""

from supernode.workload.files import GroupFiles
from supernode.workload.placed import PlacedGroup
from supernode.workload.runtimes.launcher import Launcher

SCHEDULER_PORT = 8118
"""msrun's own default."""


def _environment(group: PlacedGroup, rank: int, _files: GroupFiles) -> dict[str, str]:
    return {
        "MS_WORKER_NUM": str(group.cards),
        "MS_LOCAL_WORKER": str(group.cards_per_member),
        "MS_SCHED_HOST": group.master,
        "MS_SCHED_PORT": str(SCHEDULER_PORT),
        "MS_NODE_RANK": str(rank),
    }


LAUNCHER = Launcher(_environment)
