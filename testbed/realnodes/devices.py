"""Cards that a node's device plugin advertises, and how containers learn which are theirs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cards:
    """One extended resource of a node.

    variable: by which the device plugin tells a container its cards, and by which the container runtime finds out which
    device files to put in. file: beginning of their names in the container; the card's index follows. annotation:
    whether the plugin lets a pod's annotation choose, as Ascend's does, or gives what the kubelet picked.
    """

    resource: str
    count: int
    variable: str
    file: str
    annotation: bool = False

    def arguments(self) -> list[str]:
        """The flags of the device plugin."""
        flags = [f"--resource={self.resource}", f"--cards={self.count}", f"--variable={self.variable}"]
        return [*flags, *(["--annotation"] if self.annotation else [])]


ASCEND = Cards("huawei.com/Ascend910", 16, "ASCEND_VISIBLE_DEVICES", "/dev/davinci", annotation=True)
NVIDIA = Cards("nvidia.com/gpu", 16, "NVIDIA_VISIBLE_DEVICES", "/dev/nvidia")
