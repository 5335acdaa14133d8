"""The files in `deploy/` set what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mdagent_mcp.config.loading import load
from mdagent_mcp.server.http.hosts import refuse_unsafe

DEPLOY = Path(__file__).parents[2] / "deploy"
HASH = "sha256:" + "0" * 64


def compose_environment() -> dict[str, str]:
    """The variables of a replica, with what a person puts into `.env`."""
    given = {"MDAGENT_TOKEN_HASH": HASH, "POSTGRES_PASSWORD": "any"}
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    lines = re.findall(r"^    ((?:MDAGENT_|[A-Z_]+_API_KEY)\w*): (.*)$", text, re.MULTILINE)
    filled = re.compile(r"\$\{(\w+):[?-][^}]*\}")
    return {name: filled.sub(lambda m: given.get(m[1], ""), value).strip("'\"") for name, value in lines}


def test_the_variables_of_the_compose_file_are_settings_that_make_a_server_others_can_reach() -> None:
    """With the address that the container sets."""
    environment = compose_environment()
    assert len(environment) == 10
    settings = load({**environment, "MDAGENT_HTTP__HOST": "0.0.0.0"}).settings
    assert settings.shared.url is not None
    assert settings.shared.memory_url is not None
    refuse_unsafe(settings.http.host, settings.http.tokens, settings.http.allowed_hosts)
    assert dict(settings.sources) == {}


def test_the_container_file_sets_what_exists_and_copies_what_the_build_needs() -> None:
    """Variables, extras and files."""
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    variables = dict(re.findall(r"(MDAGENT_[A-Z_]+)=([^\s\\]+)", text.partition("\nENV ")[2].partition("\nUSER")[0]))
    assert set(variables) == {"MDAGENT_DATA_DIR", "MDAGENT_HTTP__HOST"}
    load(variables)
    pyproject = (DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"'\.\[([a-z,]+)\]'", text)[0].split(",")
    assert [extra for extra in extras if f"\n{extra} = [" not in pyproject] == []
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE))
    assert {
        name for name in ("pyproject.toml", "README.md", "LICENSE", "src", "prompts") if name not in copied
    } == set()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """The program's path apart, which is not there."""
    program = tmp_path / "mdagent-mcp"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    unit = tmp_path / "mdagent-mcp.service"
    text = (DEPLOY / "mdagent-mcp.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/mdagent/bin/mdagent-mcp", str(program)), encoding="utf-8")
    run = subprocess.run(
        [shutil.which("systemd-analyze") or "", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in run.stderr.splitlines() if "mdagent-mcp.service" in line] == []
