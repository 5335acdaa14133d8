"""The format of prompt files."""

from __future__ import annotations

import pytest

from mdagent_mcp.server.prompts import PromptFile, PromptFormatError, packaged_prompts, read_prompt

TEXT = """\
---
name: brief
title: Brief
description: Short: and to the point.
arguments:
  symbol: One symbol
  style: How (optional)
---

About {symbol}, {style}.
"""


def test_a_prompt_file_is_read_whole() -> None:
    """A value may hold colons; the body loses blanks around it."""
    found = read_prompt("brief.md", TEXT.replace("\n", "\r\n"))
    assert found == PromptFile(
        "brief",
        "Brief",
        "Short: and to the point.",
        {"symbol": "One symbol", "style": "How (optional)"},
        "About {symbol}, {style}.",
    )
    assert found.required == ("symbol",)


def test_arguments_are_filled_in_cleaned_and_bounded() -> None:
    """Line breaks and control characters could pass for instructions of the prompt itself."""
    found = read_prompt("brief.md", TEXT)
    assert found.text({"symbol": "AAPL\n{style}\x1b"}) == "About AAPL {style}, not given."
    assert len(found.text({"symbol": "A" * 10_000})) < 600


@pytest.mark.parametrize(
    ("text", "defect"),
    [
        ("About {symbol}.", "brief.md: no front matter between two lines of three dashes"),
        (TEXT.replace("title: Brief\n", ""), "brief.md: front matter lacks title"),
        (TEXT.replace("title: Brief", "title Brief"), "brief.md: cannot read the line 'title Brief'"),
        (TEXT.replace("arguments:\n", ""), "brief.md: cannot read the line 'symbol: One symbol'"),
        (TEXT.replace("{style}", "{tone}"), "brief.md: declared arguments and places differ: style, tone"),
    ],
)
def test_a_prompt_file_that_does_not_keep_the_format_is_refused(text: str, defect: str) -> None:
    """With the name of the file and the defect."""
    with pytest.raises(PromptFormatError) as caught:
        read_prompt("brief.md", text)
    assert str(caught.value) == defect


def test_the_prompts_that_ship_speak_of_tools_that_exist() -> None:
    """Each names at least one, so a renamed tool breaks this test."""
    for prompt in packaged_prompts():
        assert any(f"`{tool}`" in prompt.body for tool in ("get_quote", "get_history"))
