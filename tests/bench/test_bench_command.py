"""The command line of the measurements."""

import pytest

from bench.__main__ import STUDIES, arguments_of
from bench.loads import LOADS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["load", "strom-200"], "there is no load strom-200; choose from "),
        (["load", next(iter(LOADS)), "x", "y"], "there is no load x, y; choose from "),
        (["render", "foo"], "render takes no names; leave out foo"),
        (["day", next(iter(LOADS))], "day takes no names"),
        (["lode"], "invalid choice: 'lode'"),
    ],
)
def test_what_there_is_not_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments_of(words)
    assert (ended.value.code, told in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize("words", [[], *([study] for study in STUDIES), ["load", *LOADS], ["load", "--quick"]])
def test_what_there_is_may_be_asked_for(words: list[str]) -> None:
    assert arguments_of(words).names == [word for word in words[1:] if word in LOADS]
