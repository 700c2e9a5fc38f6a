"""From a placement to what runs it: pods, their Service, files and environment. Pure: no I/O and no clock.

A job's workers are shaped (`worker_shape`), its parallelism becomes blocks (`derive_blocks`), and once placed
(`PlacedGroup`) its files (`render_files`) and each member (`render_pod`, and `render_claims` for its devices) are
rendered next to the Service they find each other by (`render_service`).
"""

from supernode.workload.blocks import derive_blocks, explain_blocks
from supernode.workload.claims import DevicesMissing, render_claims
from supernode.workload.communicators import communicators
from supernode.workload.environment import contradicted
from supernode.workload.errors import InvalidSpec
from supernode.workload.files import GroupFiles, read_digest
from supernode.workload.identity import pod_name
from supernode.workload.placed import PlacedGroup
from supernode.workload.pod import has_rank_table, render_files, render_pod
from supernode.workload.ranktable import AddressesMissing, Server, published, server_of
from supernode.workload.runtimes import LAUNCHERS
from supernode.workload.service import render_service
from supernode.workload.shape import WorkerShape, card_resource, natural_worker, worker_shape
from supernode.workload.ssh import render_ssh_secret

__all__ = [
    "LAUNCHERS",
    "AddressesMissing",
    "DevicesMissing",
    "GroupFiles",
    "InvalidSpec",
    "PlacedGroup",
    "Server",
    "WorkerShape",
    "card_resource",
    "communicators",
    "contradicted",
    "derive_blocks",
    "explain_blocks",
    "has_rank_table",
    "natural_worker",
    "pod_name",
    "published",
    "read_digest",
    "render_claims",
    "render_files",
    "render_pod",
    "render_service",
    "render_ssh_secret",
    "server_of",
    "worker_shape",
]
