"""What plain scalars of a YAML file stand for: the values are those of `kubectl label --local -o json`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from supernode.cli.documents import read_documents
from supernode.cli.errors import BadInput

SCALARS: dict[str, Any] = {
    **{text: text for text in ("24:00:00", "1:30", "1:2:3.5", "=", "2026-01-01", "2026-01-01T00:00:00Z", "2026-1-1")},
    **{text: text for text in ("1e", "1.5e", "e5", "1e2.5", "1.2.3", "0x", "0b", "0o8", "_1", "1e999", "10.0.0.1")},
    **{"16": 16, "16.0": 16, "1.6e1": 16, "1e3": 1000, "1E3": 1000, "1.e3": 1000, "1e+3": 1000, "5.": 5, "-0.0": 0},
    **{"+12": 12, "-5": -5, "0x10": 16, "-0x10": -16, "0o17": 15, "017": 15, "-017": -15, "08": 8, "0b11": 3},
    **{"1_000": 1000, "1_000.5": 1000.5, "1.5": 1.5, ".5": 0.5, "+1.5": 1.5, "1.6e-1": 0.16, "1.0e30": 1e30},
    **{"9223372036854775807": 2**63 - 1, "123456789012345678901234567890": 123456789012345678901234567890.0},
    **dict.fromkeys(("yes", "Yes", "on", "y", "Y", "true", "True", "TRUE", "!!bool yes"), True),
    **dict.fromkeys(("no", "NO", "off", "n", "N", "false"), False),
    **dict.fromkeys(("~", "null", "Null", "NULL", ""), None),
    **{"yEs": "yEs", "tRUE": "tRUE", "nUll": "nUll", "'16.0'": "16.0", "!!str 5": "5", "!!int '5'": 5, "!!float 5": 5},
    **{"!!binary aGVsbG8=": "hello", "!!timestamp 2026-01-01": "2026-01-01", "[16.0, 24:00:00]": [16, "24:00:00"]},
}


def manifest(text: str) -> str:
    return f"apiVersion: example.com/v1\nkind: Any\nmetadata: {{name: x}}\nvalue: {text}\n"


def kinds(value: Any) -> Any:
    """A value that differs from what is only equal to it in Python, such as True from 1."""
    return [kinds(part) for part in value] if isinstance(value, list) else (type(value), value)


@pytest.mark.parametrize("text", SCALARS)
def test_a_scalar_is_what_kubectl_takes_it_for(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(manifest(text))
    [document] = read_documents([str(tmp_path)])
    assert kinds(document.body["value"]) == kinds(SCALARS[text])


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", "!!binary abc", "!!int x"])
def test_what_json_has_no_value_for_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(manifest(text))
    with pytest.raises(BadInput, match="not readable as YAML"):
        list(read_documents([str(tmp_path)]))


def test_kubectl_says_so() -> None:
    manifests = "---\n".join(manifest(text) for text in SCALARS)
    command = ["kubectl", "label", "--local", "-f", "-", "-o", "json", "a=b"]
    ran = subprocess.run(command, input=manifests, text=True, capture_output=True, check=True)
    decoder, found, rest = json.JSONDecoder(), [], ran.stdout.strip()
    while rest:
        body, end = decoder.raw_decode(rest)
        found.append(body["value"])
        rest = rest[end:].strip()
    assert kinds(found) == kinds(list(SCALARS.values()))
