"""The page of vendors says what the declarations say, and something of each that a person can use."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from mdagent_mcp.domain.vendor import Vendor
from mdagent_mcp.vendors.registry import VENDORS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "vendors.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script that writes the page."""
    name = "generate_vendors_page"
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(source: str) -> str:
    """The part of the page about a source."""
    (found,) = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if f"<!-- generated: {source} -->" in part]
    return found


def test_the_page_is_what_the_declarations_say(generator: ModuleType) -> None:
    """Run `python tools/generate_vendors_page.py` after changing a vendor."""
    assert generator.page(PAGE) == PAGE


def test_a_vendor_without_a_section_gets_one(generator: ModuleType) -> None:
    """So that a new one cannot be forgotten."""
    bare = generator.page("# Vendors\n")
    assert re.findall(r"^## (.*)$", bare, re.MULTILINE) == [vendor.title for vendor in VENDORS]
    assert generator.page(bare) == bare


@pytest.mark.parametrize("vendor", VENDORS, ids=[vendor.id for vendor in VENDORS])
def test_every_source_is_told_in_words_too(vendor: Vendor) -> None:
    """Quirks, what it adds, and its terms in a sentence; its plans and its key stand in the tables."""
    told = section(vendor.id)
    assert told.splitlines()[0] == vendor.title  # the overview leads there
    assert [word for word in ("**Quirks handled.**", "**Adds**", "**Terms.**") if word not in told] == []
    plans = [f"| `{name}`" for name in vendor.plans]
    key = vendor.key
    wanted = [*plans, *(f"`{name}`" for name in (key.environment if key is not None else ()))]
    assert [word for word in wanted if word not in told] == []
