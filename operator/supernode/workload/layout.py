"""Where a worker finds what it is told, in every container of it."""

GROUP_DIRECTORY = "/etc/supernode/group"
"""Files made from the placement; `group.json` is always there."""

SSH_DIRECTORY = "/etc/supernode/ssh"
"""The key pair of the job, with runtimes that use ssh, in the container that holds the cards; its user's own."""

SSH_ENVIRONMENT = f"{SSH_DIRECTORY}/environment"
"""The variables of a worker's container as shell commands, for the sessions of its ssh daemon."""

SSH_EMPTY = f"{SSH_DIRECTORY}/empty"
"""An empty directory that nobody but the user of the container may write to."""

UNPACKED_DIRECTORY = "/run/supernode"
"""Files too large for one object as they are, unpacked before the worker starts."""
