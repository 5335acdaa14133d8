"""`sandbox`: the simulated vendors alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mdagent_mcp.cli import main


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_it_serves_every_vendor_until_it_is_stopped(empty_home: Path) -> None:
    """On a port of its own choosing, with the faults asked for, and says how to ask it."""
    words = ["sandbox", "--port", "0", "--seed", "5", "--fault", "yahoo=throttle"]
    # A shell starts its background jobs with SIGINT ignored, and a child inherits that.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"import sys; {heeding}; from mdagent_mcp.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            greeting = [process.stdout.readline() for _ in range(8)]
            url = re.search(r"http://127\.0\.0\.1:\d+", greeting[0])
            assert url is not None
            assert "SIMULATED" in greeting[0]
            quote = f"{url[0]}/finnhub/api/v1/quote?symbol=AAPL&token=x"
            with urllib.request.urlopen(quote, timeout=10) as reply:  # noqa: S310 - a loopback address
                assert json.load(reply)["c"] > 0
            process.send_signal(signal.SIGINT)
            rest, complaint = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, rest, complaint) == (130, "", "")
    assert "Fault: yahoo=throttle\n" in greeting
    assert f"  MDAGENT_SOURCES__NASDAQ__BASE_URL={url[0]}/nasdaq\n" in greeting


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--fault", "yahoo=nonsense"], "fault 'yahoo=nonsense': unknown kind"),
        (["--host", "192.0.2.1"], "the sandbox serves this machine only"),
        (["--port", "70000"], "--port: 70000 is not a port; give 0 to 65535"),
    ],
)
def test_what_it_cannot_serve_ends_with_2(
    words: list[str], complaint: str, empty_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    assert main(["sandbox", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"mdagent-mcp: {complaint}")
    assert captured.err.count("\n") == 1
