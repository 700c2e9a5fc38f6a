"""The words of a command line before it is parsed."""

from collections.abc import Iterable, Iterator
from typing import Final

_TAKE_SEVERAL: Final = ("-f", "--filename", "--fleet")


def spread(words: Iterable[str]) -> Iterator[str]:
    """The words with each option that names manifests repeated for all that follow it: `-f a b` is `-f a -f b`.

    A shell writes `-f *.yaml` so. The next option ends the list, and so does the value of `--fleet=PATH`.
    """
    option, fresh, literal = "", False, False
    for word in words:
        literal |= word == "--"
        if literal:
            yield word
            continue
        if fresh:
            fresh = False
        elif word.startswith("-") and word != "-":
            option = word if word in _TAKE_SEVERAL else ""
            fresh = bool(option)
        elif option:
            yield option
        yield word
