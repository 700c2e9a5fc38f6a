"""Running the command line as a person does, without a process of its own."""

import io
import sys

import pytest
from cli_command import Ran, Run

from supernode.cli.main import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `kubectl supernode` with these arguments and this standard input."""

    def run(*arguments: object, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "argv", ["kubectl-supernode", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        told = capsys.readouterr()
        if isinstance(code, str):  # the interpreter writes it to standard error and ends with 1
            return Ran(1, told.out, f"{told.err}{code}\n")
        return Ran(code or 0, told.out, told.err)

    return run
