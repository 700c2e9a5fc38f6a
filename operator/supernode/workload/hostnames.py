"""The host names of a group's members as one variable, for programs that want the whole list, as libtpu does.

It is a text of the group's ConfigMap, to which the variable refers: written into each pod, the names of a thousand
members would be stored a thousand times.
"""

from supernode.workload.placed import PlacedGroup

HOSTNAMES = "hostnames"

MAX_BYTES = 126 * 1024
"""Linux starts no process with a variable of 128 KiB, name included (`MAX_ARG_STRLEN`)."""


def hostnames(group: PlacedGroup) -> str | None:
    """In rank order, separated by commas; None where a variable cannot hold them."""
    names = ",".join(group.address(rank) for rank in range(len(group.members)))
    return names if len(names) <= MAX_BYTES else None
