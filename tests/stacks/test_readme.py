"""The README says what the settings are, and what make can do."""

from __future__ import annotations

import re
from pathlib import Path

from stacks.settings import StackSettings
from stacks.table import settings_table

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_settings_table_is_what_the_settings_are():
    between = re.search(r"<!-- settings: .* -->\n(.*)<!-- /settings -->", README, re.DOTALL)

    assert between
    assert between[1].strip() == settings_table(StackSettings).strip()


def test_every_make_target_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake (?:-s )?([a-z-]+)", README)) <= targets


def test_every_link_of_the_documentation_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
