"""The dashboard's and the alerts' queries, read by a real Prometheus where one is installed (Debian: `prometheus`)."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import generate_dashboard
import pytest

from mdagent_mcp.monitoring.metrics import CONTENT_TYPE, Metrics
from monitoring.test_metrics import EVENTS, OVERALL, status

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
PROMETHEUS, PROMTOOL = shutil.which("prometheus") or "", shutil.which("promtool") or ""
needs_prometheus = pytest.mark.skipif(
    not (PROMETHEUS and PROMTOOL),
    reason="needs a Prometheus: apt-get install prometheus",
)


def test_the_written_dashboard_is_the_generated_one() -> None:
    """`python tools/generate_dashboard.py` writes it anew."""
    assert generate_dashboard.TARGET.read_text(encoding="utf-8") == generate_dashboard.text()


def test_every_metric_that_dashboard_and_rules_name_exists() -> None:
    """Names in queries against the names on the page."""
    known = _page().decode()
    queries = " ".join(query for panel in generate_dashboard.PANELS for query in panel.queries.values())
    named = set(re.findall(r"\bmdagent_\w+", queries + RULES.read_text(encoding="utf-8")))
    missing = {name for name in named if name != "mdagent_mcp" and f"\n{name}" not in known}
    assert missing == set()


@needs_prometheus
def test_every_alert_fires_and_stays_silent_when_all_is_well() -> None:
    """By Prometheus' own unit tests of rules."""
    run = subprocess.run(
        [PROMTOOL, "test", "rules", str(RULES.with_name("rules_test.yml"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, "SUCCESS" in run.stdout) == (0, True), run.stdout + run.stderr


@needs_prometheus
def test_promtool_finds_no_fault_with_the_page() -> None:
    """Names, units, help texts."""
    run = subprocess.run([PROMTOOL, "check", "metrics"], input=_page(), capture_output=True, check=False)
    ours = [line for line in (run.stdout + run.stderr).decode().splitlines() if line.startswith("mdagent_")]
    assert ours == []


@needs_prometheus
def test_every_query_of_the_dashboard_finds_something(prometheus: str) -> None:
    """Scraped from a page of ours and asked through the API, as Grafana does."""
    empty = [
        query
        for panel in generate_dashboard.PANELS
        for query in panel.queries.values()
        if not _ask(prometheus, query.replace("[1h]", "[1m]").replace("[5m]", "[1m]").replace("[15m]", "[1m]"))
    ]
    assert empty == []


@needs_prometheus
def test_the_rules_load(prometheus: str) -> None:
    """Without an error in any of them."""
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=5) as reply:  # noqa: S310 - loopback
        groups = json.load(reply)["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 9
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []


class _Page(BaseHTTPRequestHandler):
    """Our metrics, moving with every scrape."""

    metrics: Metrics

    def do_GET(self) -> None:
        for event in EVENTS:
            self.metrics(event)
        self.metrics.lagged(0.002)
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.end_headers()
        self.wfile.write(self.metrics.page())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that scrapes us every second."""
    folder = tmp_path_factory.mktemp("prometheus")
    _Page.metrics = _metrics()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as page:
        thread = threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        config = folder / "prometheus.yml"
        config.write_text(
            f"""
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [{RULES}]
scrape_configs:
  - job_name: mdagent_mcp
    static_configs: [{{ targets: ["127.0.0.1:{page.server_address[1]}"] }}]
"""
        )
        port = _free_port()
        server = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until(lambda: len(_ask(url, "count_over_time(mdagent_hedges_total[1m]) >= 3")) > 0)
            yield url
        finally:
            server.terminate()
            server.wait(10)
            page.shutdown()
            thread.join()


def _metrics() -> Metrics:
    metrics = Metrics("1.2.3")
    metrics.show([status()], OVERALL)
    return metrics


def _page() -> bytes:
    metrics = _metrics()
    for event in EVENTS:
        metrics(event)
    return metrics.page()


def _ask(url: str, query: str) -> list[Any]:
    try:
        with urllib.request.urlopen(  # noqa: S310 - loopback
            f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}", timeout=5
        ) as reply:
            found: list[Any] = json.load(reply)["data"]["result"]
            return found
    except OSError:
        return []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until(condition: Any, limit_s: float = 60.0) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "Prometheus did not scrape in time"
        time.sleep(0.2)
