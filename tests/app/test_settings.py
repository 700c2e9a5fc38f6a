"""The settings of a process, from its command line and its environment."""

import pytest

from supernode.app.settings import parse_settings


@pytest.mark.parametrize(
    ("arguments", "environment", "host"),
    [
        ([], {}, None),
        ([], {"SUPERNODE_HOST": "::1"}, "::1"),
        (["--host", "127.0.0.1"], {"SUPERNODE_HOST": "::1"}, "127.0.0.1"),
    ],
)
def test_it_listens_everywhere_unless_it_is_told_where(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], environment: dict[str, str], host: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert parse_settings(arguments).host == host


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--retry-period", "9", "--renew-deadline", "10"], "renew deadline of 10 s must be over 1.2 times the retry"),
        (["--renew-deadline", "15"], "renew deadline of 15 s must be under the lease duration of 15 s"),
    ],
)
def test_lease_times_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit):
        parse_settings(arguments)
    assert said in capsys.readouterr().err
