"""Levels of theory by name, and the Hubbard U of the Materials Project frame by frame."""

import json
from pathlib import Path

import pytest

from groundstate.atoms import GroundstateError, LevelOfTheory
from groundstate.atoms.elements import from_label
from groundstate.data import TheoryRule, named_theories, read, theory
from labelled_water import WATER


@pytest.mark.parametrize(
    ("symbols", "u"),
    [
        ("Fe O", (("Fe", 5.3),)),
        ("Fe F", (("Fe", 5.3),)),
        ("Fe S", ()),
        ("Fe", ()),
        ("Li O", ()),
        ("Co Ni O F Mn", (("Co", 3.32), ("Mn", 3.9), ("Ni", 6.2))),
        ("Cr Mo V W O", (("Cr", 3.7), ("Mo", 4.38), ("V", 3.25), ("W", 6.2))),
        ("Cu O", ()),
    ],
)
def test_the_rule_of_the_materials_project(symbols: str, u: tuple[tuple[str, float], ...]) -> None:
    rule = named_theories()["mp"]
    assert isinstance(rule, TheoryRule)
    level = rule.of([from_label(symbol)[0].number for symbol in symbols.split()])
    assert (level.functional, level.hubbard_u) == ("PBE", u)


def test_values_are_those_of_pymatgen() -> None:
    pymatgen = pytest.importorskip("pymatgen.io.vasp.sets")
    values = pymatgen.MPRelaxSet.CONFIG["INCAR"]["LDAUU"]
    rule = named_theories()["mp"]
    assert isinstance(rule, TheoryRule)
    assert set(values) == set(rule.anions)
    assert values["O"] == values["F"] == dict(rule.hubbard_u)


def test_one_level_per_set_of_elements(tmp_path: Path) -> None:
    oxide = (
        WATER.replace("O 0 0 0", "Fe 0 0 0").replace("H 0.96 0 0", "O 1.9 0 0").replace("H -0.24 0.93", "O -0.6 1.9")
    )
    (tmp_path / "a.xyz").write_text(WATER + oxide)
    water, iron = read(tmp_path / "a.xyz", theory=named_theories()["mp"]).records
    assert water.theory is not None
    assert iron.theory is not None
    assert water.theory.differences(iron.theory) == ("hubbard_u",)


def test_from_a_file(tmp_path: Path) -> None:
    level = LevelOfTheory("PBE0", code="FHI-aims")
    (tmp_path / "one.json").write_text(json.dumps(level.as_dict()))
    (tmp_path / "two.json").write_text(json.dumps({"a": level.as_dict(), "b": {"functional": "PBE"}}))
    assert theory(tmp_path / "one.json") == level
    assert theory(tmp_path / "two.json") == {"a": level, "b": LevelOfTheory("PBE")}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("mpp", None, "E-THEORY-NAME"), ("bad.json", "[1]", "E-THEORY-FILE"), ("bad.json", '{"a": 1}', "E-THEORY-FILE")],
)
def test_refused(tmp_path: Path, name: str, content: str | None, code: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(GroundstateError) as caught:
        theory(name if content is None else tmp_path / name)
    assert caught.value.code == code
