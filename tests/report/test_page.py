"""A page is complete in itself, escapes what it is given, and says the same in JSON."""

import json
from pathlib import Path

import pytest
import torch

from groundstate.atoms import System
from groundstate.report import Page, curves, parity, structures
from toys import fcc


def test_page_and_twin_say_the_same(tmp_path: Path) -> None:
    page = Page("Oxides <&>", lead="what it shows")
    page.heading("Errors")
    page.table(["model", "force RMSE (eV/Å)"], [["a<b", 0.123456], ["none", None]], caption="caption")
    page.text("watch <this>", note=True)
    page.facts({"model": "chgnet-0.3.0"})
    page.figure(curves({"x": ([1, 2], [3, 4])}, "step", "energy (eV)", markers=True), "a curve", {"x": [1, 2]})
    target = page.write(tmp_path / "deep" / "report.html")
    text, record = target.read_text(), json.loads(target.with_suffix(".json").read_text())
    assert "a&lt;b" in text
    assert "<this>" not in text
    assert "0.1235" in text
    assert "http" not in text.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    kinds = [section["kind"] for section in record["sections"]]
    assert kinds == ["heading", "table", "note", "facts", "figure"]
    assert record["sections"][1]["rows"][0] == ["a<b", 0.123456], "the twin keeps all digits"


def test_not_a_number_is_not_written(tmp_path: Path) -> None:
    page = Page("x")
    page.table(["a"], [[float("nan")]])
    with pytest.raises(ValueError, match="not JSON compliant"):
        page.write(tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_figures_show_every_series() -> None:
    figure = parity(
        {"energy (eV)": {"before": ([1, 2], [1, 3]), "after": ([1, 2], [1, 2])}, "force (eV/Å)": {}}
        | {"force (eV/Å)": {"before": ([0.0], [0.1])}}
    )
    assert len(figure.axes) == 4
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["before", "after"]
    assert [line.get_label() for line in curves({"a": ([1], [1])}, "x", "y", levels={"b": 2.0}).axes[0].lines] == [
        "a",
        "b",
    ]
    assert curves({"a": ([1, 10], [1, 10])}, "x", "y", logarithmic=True).axes[0].get_xscale() == "log"


def test_a_structure_is_drawn_with_its_border_and_can_be_turned_offline(tmp_path: Path) -> None:
    water = System.single([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]], [8, 1, 1])
    picture = structures({"Cu <fcc>": fcc(), "water": water})
    crystal, molecule = picture.markup.split('<div class="crystal">')[1:]
    assert crystal.count("<circle") == 14, "8 corners and 6 faces of the cube"
    assert crystal.count('class="cell"') == 2 * 12
    assert "Cu &lt;fcc&gt;" in crystal
    assert molecule.count("<circle") == 3
    assert molecule.count('class="bond"') == 2
    assert 'class="cell"' not in molecule
    assert picture.data["water"]["symbols"] == ["O", "H", "H"]
    page = Page("x")
    page.figure(picture, "both")
    text = page.write(tmp_path / "report.html").read_text()
    assert text.count("<script>") == 1
    assert "src=" not in text
    assert "import(" not in text
    assert "fetch(" not in text
    assert (
        json.loads((tmp_path / "report.json").read_text())["sections"][0]["data"]["Cu <fcc>"]["periodic"] == [True] * 3
    )
    assert "<script>" not in Page("no structure").write(tmp_path / "plain.html").read_text()


def test_what_cannot_be_drawn_is_said() -> None:
    lost = fcc().replace(positions=fcc().positions * torch.nan)
    assert "4 atoms: not drawn" in structures({"lost": lost}).markup


def test_pictures_take_the_colours_of_the_page(tmp_path: Path) -> None:
    page = Page("x")
    page.figure(curves({"a": ([1, 2], [3, 4])}, "x", "y", levels={"b": 2.0}), "a curve")
    text = page.write(tmp_path / "report.html").read_text()
    picture = text[text.index("<svg") : text.index("</svg>")]
    assert "var(--series0, #0b6e6e)" in picture
    assert "currentColor" in picture
    assert "#000000" not in picture
    assert "#ffffff" not in picture
