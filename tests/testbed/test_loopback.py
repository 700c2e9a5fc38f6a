"""How the test bed asks the programs it has started, whatever the environment says of proxies."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from testbed.controlplane import free_ports
from testbed.loopback import fetch


class Echo(BaseHTTPRequestHandler):
    """Answers /CODE with that code, and with what it was sent."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(int(self.path[1:]))
        self.end_headers()
        self.wfile.write(f"{self.headers.get('Authorization')} {body.decode()}".encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing is told."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_proxy_stands_between(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
    assert fetch(f"{url}/200", token="t") == (200, "Bearer t ")
    assert fetch(f"{url}/200", b"{}") == (200, "None {}")
    assert fetch(f"{url}/503") == (503, "None ")


def test_who_does_not_answer_has_status_0() -> None:
    assert fetch(f"http://127.0.0.1:{free_ports(1)[0]}/") == (0, "")
