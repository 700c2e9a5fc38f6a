"""The settings of a process, from its command line and its environment."""

from pathlib import Path

import pytest

from supernode.app.settings import Settings, parse_settings


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


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("log-format", "jsno", "--log-format is 'jsno'; it must be one of text, json"),
        ("log-level", "TRACE", "--log-level is 'TRACE'; it must be one of DEBUG, INFO, WARNING, ERROR"),
        ("port", "http", "argument --port: invalid int value: 'http'"),
        ("port", "65536", "--port is 65536; it must be from 0 to 65535"),
        ("lease-duration", "15s", "argument --lease-duration: invalid int value: '15s'"),
        ("hold-after", "-1", "hold-after is -1.0; it must be a number of seconds from 0"),
    ],
)
def test_a_variable_is_checked_as_the_option_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"SUPERNODE_{option.upper().replace('-', '_')}", value)
    with pytest.raises(SystemExit):
        parse_settings([])
    assert said in capsys.readouterr().err


def test_an_empty_variable_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "HOST", "PORT", "LOG_FORMAT", "LOG_LEVEL", "LEASE_NAMESPACE", "LEASE_NAME", "IDENTITY"):
        monkeypatch.setenv(f"SUPERNODE_{name}", "")
    settings, defaults = parse_settings([]), Settings()
    assert settings.kubeconfig is settings.host is settings.lease_namespace is None
    assert (settings.port, settings.lease_name) == (defaults.port, defaults.lease_name)
    assert (settings.log_format, settings.log_level) == (defaults.log_format, defaults.log_level)
    assert not settings.identity.startswith("-"), "the host's name, then a suffix"


@pytest.mark.parametrize("option", ["kubeconfig", "host", "lease-namespace", "lease-name", "identity"])
def test_an_empty_option_is_refused(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit):
        parse_settings([f"--{option}="])
    assert f"--{option} is empty" in capsys.readouterr().err


def test_variables_are_read_as_options_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERNODE_LOG_LEVEL", "debug")
    monkeypatch.setenv("SUPERNODE_KUBECONFIG", "/etc/kubeconfig")
    settings = parse_settings([])
    assert (settings.log_level, settings.kubeconfig) == ("DEBUG", Path("/etc/kubeconfig"))
