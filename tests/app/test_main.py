"""The process: what it logs, and how it ends."""

import json
import subprocess
import sys
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
