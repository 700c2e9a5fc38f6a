"""Which taints of its nodes a profile's pods put up with, in Kubernetes' own shape."""

from enum import StrEnum
from typing import ClassVar, Final

from pydantic import Field

from supernode.api.base import ApiModel, LabelKey, LabelValue, Rule

TROUBLE: Final = (
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "karpenter.sh/",
    "ToBeDeletedByClusterAutoscaler",
)
"""How keys of taints begin by which Kubernetes and its autoscalers say that a node is in trouble, or on its way out."""


class TolerationOperator(StrEnum):
    """How a toleration's value is compared with a taint's."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """Taints that do not keep pods off a node, as in a Kubernetes pod."""

    key: LabelKey | None = Field(
        default=None, description="Key of the taints. Absent, with operator Exists: taints of every key."
    )
    operator: TolerationOperator = Field(
        default=TolerationOperator.EQUAL, description="Equal: taints of this value; Exists: of any value."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taints with operator Equal. Absent: none.")
    effect: TaintEffect | None = Field(default=None, description="Effect of the taints. Absent: every effect.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.key) || self.operator == 'Exists'",
            message="key is required with operator Equal; name it, or tolerate every taint with operator Exists",
            holds=lambda t: t.key is not None or t.operator is TolerationOperator.EXISTS,
            field=".key",
        ),
        Rule(
            cel="!has(self.value) || size(self.value) == 0 || self.operator == 'Equal'",
            message="value belongs to operator Equal; remove it, or set operator to Equal",
            holds=lambda t: not t.value or t.operator is TolerationOperator.EQUAL,
            field=".value",
        ),
        Rule(
            cel="!has(self.key) || !(" + " || ".join(f"self.key.startsWith('{start}')" for start in TROUBLE) + ")",
            message="key is of taints on nodes in trouble or on their way out, which give no cards; remove it",
            holds=lambda t: t.key is None or not t.key.startswith(TROUBLE),
            field=".key",
        ),
    )
