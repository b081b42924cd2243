"""A port that is given out belongs to whoever asked, before their server has bound it."""

import socket
import subprocess
import sys

import pytest

from service.embedded import child_process
from service.embedded.child_process import accepts, free_port

ASKS_FOR_THE_SAME = """
import sys
from service.embedded import child_process
child_process.PORT_FIRST, child_process.PORT_LAST = int(sys.argv[1]), int(sys.argv[1]) + 1
child_process.free_port()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux shares a bound port so")


def test_a_port_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(child_process, "PORT_FIRST", port)
    monkeypatch.setattr(child_process, "PORT_LAST", port + 1)
    with pytest.raises(OSError, match="no free port found"):
        free_port()
    asked = [sys.executable, "-c", ASKS_FOR_THE_SAME, str(port)]
    other = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    assert "no free port found" in other.stderr


def test_a_server_takes_the_port_it_was_given_and_may_take_it_again() -> None:
    port = free_port()
    for _ in range(2):
        assert not accepts(port)
        with socket.create_server(("127.0.0.1", port)) as server:
            assert accepts(port)
            server.accept()[0].close()
