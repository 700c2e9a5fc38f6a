"""From a placement to what runs it: pods, their Service, their environment. Pure: no I/O and no clock.

A job's workers are shaped (`worker_shape`), its parallelism becomes blocks (`derive_blocks`), and once placed each
member is rendered (`render_pod`) next to the Service they find each other by (`render_service`).
"""

from supernode.workload.blocks import derive_blocks
from supernode.workload.errors import InvalidSpec
from supernode.workload.identity import pod_name
from supernode.workload.pod import render_pod
from supernode.workload.service import render_service
from supernode.workload.shape import WorkerShape, natural_worker, worker_shape

__all__ = [
    "InvalidSpec",
    "WorkerShape",
    "derive_blocks",
    "natural_worker",
    "pod_name",
    "render_pod",
    "render_service",
    "worker_shape",
]
