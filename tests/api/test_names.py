"""The page of labels and annotations has those that there are."""

import re
from pathlib import Path

from supernode.api import names

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "labels.md"


def test_every_label_annotation_and_finalizer_is_on_the_page() -> None:
    kinds = ("LABEL", "ANNOTATION", "FINALIZER")
    known = {
        (text, kind.lower()) for kind in kinds for name, text in vars(names).items() if name.startswith(f"{kind}_")
    }
    assert set(re.findall(r"^\| `([^`]+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)) == known
