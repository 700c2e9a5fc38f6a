"""Where a worker finds what it is told, in every container of it."""

GROUP_DIRECTORY = "/etc/supernode/group"
"""Files made from the placement; `group.json` is always there."""

SSH_DIRECTORY = "/etc/supernode/ssh"
"""The key pair of the job, with runtimes that use ssh."""

UNPACKED_DIRECTORY = "/run/supernode"
"""Files too large for one object as they are, unpacked before the worker starts."""
