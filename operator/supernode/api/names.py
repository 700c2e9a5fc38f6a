"""Every name this project puts on the API server: group, kinds, labels, annotations, finalizer, field manager."""

from typing import Final

GROUP: Final = "supernode.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "supernode.io/v1alpha1"

LABEL_JOB: Final = f"{GROUP}/job"
"""On pods and card groups: the name of the TrainingJob they serve."""
LABEL_GROUP: Final = f"{GROUP}/group"
"""On pods: the name of the CardGroup whose cards they use."""
LABEL_RANK: Final = f"{GROUP}/rank"
"""On pods: the member's rank in its group, a decimal number."""
LABEL_DISCOVERED: Final = f"{GROUP}/discovered"
"""On SuperNodes: `true` when discovery made them from node labels."""

ANNOTATION_GROUP_UID: Final = f"{GROUP}/group-uid"
"""On pods: the uid of their CardGroup, which tells an old group's pod from a new one of the same name."""
ANNOTATION_CARDS: Final = f"{GROUP}/cards"
"""On pods: the cards they use as indices within the node, in compact ranges ("0-7,9")."""
ANNOTATION_FILES: Final = f"{GROUP}/files"
"""On pods: which files of their group they have mounted."""
ANNOTATION_PREDICATE_TIME: Final = "predicate-time"
"""On pods pinned by an annotation: when they were made, in nanoseconds; device plugins serve the oldest first."""
ANNOTATION_UNHEALTHY_CARDS: Final = f"{GROUP}/unhealthy-cards"
"""On nodes, set by anyone: indices of cards that must not be used ("3,7")."""

FINALIZER_CARDS: Final = f"{GROUP}/cards"
"""On CardGroups: the ledgers still hold cards for this group."""

OWN_VARIABLES: Final = "SUPERNODE_"
"""How the names of the variables begin that workers get whatever their runtime."""

FIELD_MANAGER: Final = "supernode-operator"

LEVEL_NODE: Final = "node"
"""The level that is the Kubernetes node; every profile has exactly one."""
LEVEL_SUPERNODE: Final = "supernode"
"""In a request: the profile's outermost level, whatever the profile calls it."""
