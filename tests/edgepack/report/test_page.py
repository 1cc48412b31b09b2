"""The page of bundles: self-contained, escaped, and readable on a phone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgepack.bundle import archive
from edgepack.files import sha256
from edgepack.report import page
from tests.edgepack.commands import write_bundle


@pytest.fixture
def html(tmp_path: Path) -> str:
    data = write_bundle(tmp_path / "one.edgepack").read_bytes()
    return page([(archive.unpack(data, "one.edgepack"), sha256(data))])


def rules(html: str) -> dict[str, str]:
    """Return the declarations of each selector of the page's style, joined."""
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    found: dict[str, str] = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", style):
        for selector in selectors.split(","):
            name = selector.split("*/")[-1].strip()
            found[name] = found.get(name, "") + body
    return found


def test_the_name_of_a_gate_stays_whole(html: str) -> None:
    gates = html.split('<table class="gates">')[1].split("</table>", maxsplit=1)[0]
    names = re.findall(r'<td class="name"><code>([a-z_:.-]+)</code></td>', gates)
    assert len(names) == gates.count("<tr>") - 1  # the first row is the head
    style = rules(html)
    assert "white-space: nowrap" in style[".name"]
    for selector, body in style.items():
        if re.search(r"overflow-wrap: anywhere|word-break", body):
            assert selector.startswith(".provenance"), selector


def test_on_a_phone_what_a_gate_says_takes_the_whole_width(html: str) -> None:
    narrow = html.split("@media (max-width: 40rem)")[1].split("</style>", maxsplit=1)[0]
    assert re.search(r"\.gates tr \{[^}]*flex-wrap: wrap", narrow)
    assert re.search(r"\.gates \.says \{[^}]*flex: 1 0 100%", narrow)
    assert 'name="viewport" content="width=device-width' in html


def test_nothing_is_fetched_and_nothing_runs(html: str) -> None:
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="(?!#)', html)
    assert "default-src 'none'" in html
