"""The process: what it logs, and how it ends."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path


def test_a_line_of_the_log_has_its_time_and_level_where_collectors_look_for_them(tmp_path: Path) -> None:
    missing = tmp_path / "none.kubeconfig"
    command = [sys.executable, "-m", "supernode.app", "--log-format=json", f"--kubeconfig={missing}", "--port=0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    line = json.loads(ended.stderr.splitlines()[-1])
    assert line.keys() == {"timestamp", "level", "name", "message"}
    assert (line["level"], line["name"]) == ("CRITICAL", "supernode.app.main")
    assert str(missing) in line["message"]
    when = datetime.fromisoformat(line["timestamp"])
    assert when.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)


def test_it_can_be_ended_while_it_starts(tmp_path: Path) -> None:
    """The first process of a container does not get a signal that it handles in no way."""
    kubeconfig = tmp_path / "kubeconfig"
    os.mkfifo(kubeconfig)
    command = [sys.executable, "-m", "supernode.app", f"--kubeconfig={kubeconfig}", "--port=0"]
    with subprocess.Popen(command) as starting:
        try:
            writer = _opened_once_read(kubeconfig)
            starting.terminate()
            assert starting.wait(5) == 0
            os.close(writer)
        finally:
            starting.kill()


def _opened_once_read(pipe: Path) -> int:
    """The end to write to, once somebody waits at the other one."""
    give_up = time.monotonic() + 60
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < give_up, "nobody reads it"
            time.sleep(0.01)
