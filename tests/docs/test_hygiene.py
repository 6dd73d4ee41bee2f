"""The files that a project has beside its code: licence, changelog, hooks."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import yaml

from scripts.reference import ROOT

BIN = Path(sys.executable).parent


def test_the_licence_is_the_text_of_apache_2_unchanged() -> None:
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_next_release_would_name_every_fragment() -> None:
    command = [BIN / "towncrier", "build", "--draft", "--version", "99.0"]
    draft = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    texts = [path.read_text("utf-8") for path in (ROOT / "changelog.d").glob("*.md")]
    assert texts or "No significant changes" in draft
    assert [text for text in texts if text.splitlines()[0] not in draft] == []
    assert "<!-- towncrier release notes start -->" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_hooks_are_local_and_call_tools_that_are_installed() -> None:
    subprocess.run([BIN / "pre-commit", "validate-config"], cwd=ROOT, check=True, timeout=60)
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert {one["repo"] for one in repositories} == {"local"}
    tools = [hook["entry"].split()[0] for one in repositories for hook in one["hooks"]]
    assert [tool for tool in tools if not (BIN / Path(tool).name).exists() or not tool.startswith(".venv/bin/")] == []


def test_no_page_names_the_address_of_a_package_index_or_the_path_of_a_machine() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md"), ROOT / ".env.example"]
    foreign = re.compile(r"pypi|index-url|/root/|/home/\w|pythonhosted", re.IGNORECASE)
    assert [page.name for page in pages if foreign.search(page.read_text("utf-8"))] == []
