"""What the command line refuses, besides what its libraries do.

SupernodeError
├── BadInput    a file cannot be read, or a document in it is not what it should be
└── NotThere    the cluster has no object of that name
"""

import re

from supernode.api.errors import SupernodeError


class BadInput(SupernodeError):  # noqa: N818 - reads as what it says
    """Input that cannot be used; the text names the file, the document, the field and the remedy."""


class NotThere(SupernodeError):  # noqa: N818 - reads as what it says
    """An object that was asked for by name and does not exist."""


def is_name(text: str) -> bool:
    """Whether an object or a namespace can be called so."""
    return len(text) <= 253 and re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text) is not None


def printable(text: str) -> str:
    """Text from anywhere on one line that cannot steer a terminal: what does not print is written as an escape."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
