"""Verbs about paths, defects, surfaces and pores as a user meets them, with a pair potential in place of a model."""

import json
from pathlib import Path

import pytest
from ase.build import fcc111

import groundstate as gs
from analytic_surfaces import vacancy_hop
from command_line import Run
from groundstate.atoms import OptionError, System
from groundstate.data import Record, from_ase, write
from toys import fcc, lennard_jones


@pytest.fixture(autouse=True)
def every_model_is_lennard_jones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundstate.zoo.load", lambda name, **_: lennard_jones(cutoff=4.5))


def saved(path: Path, *structures: System) -> Path:
    return write(path, [Record(single) for single in structures])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    start, end = vacancy_hop(3.54)
    slab = fcc111("Cu", (2, 2, 2), a=3.54, vacuum=8.0)
    slab.pbc = True
    return {
        "start": saved(tmp_path / "start.extxyz", start),
        "end": saved(tmp_path / "end.extxyz", end),
        "two": saved(tmp_path / "two.extxyz", start, end),
        "crystal": saved(tmp_path / "crystal.extxyz", fcc(lattice_constant=3.54)),
        "slab": saved(tmp_path / "slab.extxyz", from_ase(slab)),
        "dimer": saved(tmp_path / "dimer.extxyz", System.single([[0, 0, 0], [0, 0, 2.5]], [29, 29])),
        "host": saved(tmp_path / "host.extxyz", fcc(lattice_constant=9.0)),
    }


def page(path: Path) -> dict:
    assert "<svg" in path.read_text(encoding="utf-8")
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    facts = next(section["facts"] for section in record["sections"] if section["kind"] == "facts")
    assert facts["model"].startswith("toy-pair@")
    assert any(name.startswith("input ") for name in facts)
    return record


def test_neb(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    words = ("neb", files["start"], files["end"], "--images", "3", "--relax-ends", "--verify", "--json")
    code, out, _ = run(*words, "--report", tmp_path / "path.html", "--output", tmp_path / "run")
    (path,) = json.loads(out)["paths"]
    assert code == 0
    assert path["negative modes"] == 1
    assert path["barrier forward (eV)"] > 0.1
    assert page(tmp_path / "path.html")["sections"]
    code, _, err = run("neb", files["start"], files["crystal"])
    assert code == 1
    assert "E-PATH-COMPOSITION" in err
    code, _, err = run("neb", files["two"], files["end"])
    assert code == 2
    assert "E-PATH-PAIRS" in err


def test_saddle(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    words = ("saddle", files["start"], "--searches", "2", "--max-steps", "2")
    code, out, _ = run(*words, "--json")
    assert code == 1
    assert [search["status"] for search in json.loads(out)["searches"]] == ["max_steps", "max_steps"]
    assert "E-SADDLE-STEPS" in run(*words)[2]


def test_vacancy(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    code, out, err = run("vacancy", files["crystal"], "--max-atoms", "120", "--report", tmp_path / "vacancy.html")
    assert code == 0
    assert "Cu at site 0" in out
    assert "μ(Cu)" in err
    assert page(tmp_path / "vacancy.html")["title"] == "Vacancies"
    assert run("vacancy", files["crystal"], "--mu", "Cu=x")[0] == 2


def test_surface(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    words = ("surface", files["crystal"], "--thicknesses", "2,3,4", "--json")
    code, out, _ = run(*words, "--miller", "1,1,1", "--report", tmp_path / "surface.html")
    (surface,) = json.loads(out)["surfaces"]
    assert code == 0
    assert surface["energy (J/m²)"] == pytest.approx(0.293, abs=0.01)
    page(tmp_path / "surface.html")
    code, _, err = run(*words, "--miller", "1,1")
    assert (code, "E-MILLER" in err) == (2, True)


def test_adsorb(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    words = ("adsorb", files["slab"], files["dimer"], "--sites", "top,hollow")
    code, out, err = run(*words, "--force-tolerance", "0.05", "--report", tmp_path / "adsorption.html")
    assert code == 0
    assert "hollow" in out
    assert "E_ads = E(slab + molecule)" in err
    assert len(page(tmp_path / "adsorption.html")["sections"]) >= 4


def test_widom(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    words = ("widom", files["host"], files["dimer"], "--insertions", "40", "--blocks", "4", "--json")
    code, out, _ = run(*words, "--temperatures-K", "300,600", "--report", tmp_path / "widom.html")
    assert code == 0
    assert [point["T (K)"] for point in json.loads(out)["points"]] == [300.0, 600.0]
    page(tmp_path / "widom.html")
    assert run(*words, "--temperatures-K", "warm")[0] == 2


def test_options_in_python_are_checked(files: dict[str, Path]) -> None:
    with pytest.raises(OptionError, match="'images'"):
        gs.neb(files["start"], files["end"], lennard_jones(), image=3)
    with pytest.raises(OptionError, match=r"E-BUILDER-ONE.*2 structures"):
        gs.vacancy(files["two"], lennard_jones())
    (vacancy,) = gs.vacancy(files["crystal"], lennard_jones(cutoff=4.5), max_atoms=40, force_tolerance=0.05)
    assert vacancy.formation_energy == pytest.approx(0.388, abs=0.01)
