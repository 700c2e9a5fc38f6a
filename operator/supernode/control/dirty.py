"""Which supernodes the snapshot has to look at again, and how much of each."""

from collections.abc import Iterator


class Dirty:
    """Supernodes about which something was told, each with the nodes it was about, or as a whole."""

    def __init__(self) -> None:
        self._nodes: dict[str, set[str]] = {}
        self._whole: set[str] = set()

    def add(self, supernode: str, *nodes: str) -> None:
        """Something was told about these nodes of a supernode, or only about what it says of itself."""
        self._nodes.setdefault(supernode, set()).update(nodes)

    def add_whole(self, *supernodes: str) -> None:
        """Anything about these supernodes may have changed."""
        for name in supernodes:
            self.add(name)
        self._whole.update(supernodes)

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._nodes))

    def nodes(self, supernode: str) -> set[str] | None:
        """The nodes to look at, ``None`` for all of them."""
        return None if supernode in self._whole else self._nodes.get(supernode, set())
