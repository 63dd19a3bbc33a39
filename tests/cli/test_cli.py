"""The binary as a user meets it: verbs, refusals, exit codes, files left behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import Run
from groundstate.cli import app
from groundstate.potentials import checkpoint
from groundstate.potentials.mace import MACEConfig, build
from groundstate.training.advice import WAYS, Point, conclude

EXAMPLES = Path(__file__).parents[2] / "examples" / "oxides"
VERBS = ("predict", "relax", "md", "label", "train", "finetune", "evaluate", "laws", "models", "doctor")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model for magnesium and oxygen with random weights."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    config = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=1, layers=1, cutoff=3.5, dtype="float64")
    checkpoint.save(build(config, elements=(8, 12), reference_energies=[{8: -7.0, 12: -5.0}], seed=0), path)
    return path


def test_every_verb_has_help(run: Run) -> None:
    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback}
    verbs |= {str(group.name) for group in app.registered_groups}
    assert set(VERBS) <= verbs
    for words in ((), *((verb,) for verb in sorted(verbs))):
        code, out, _ = run(*words, "--help")
        assert code == 0
        assert "Usage" in out
        assert not words or f"groundstate {words[0]}" in out, f"the help of {words} shows no example"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("relx", "a.cif"), 2, ("E-VERB-UNKNOWN", "Did you mean 'relax'?")),
        (("relax", "a.cif", "--force-tolerence", "1"), 2, ("E-OPTION", "--force-tolerance")),
        (("relax", EXAMPLES / "MgO.cif", "--cell", "ful", "--model", "MODEL"), 2, ("E-OPTION-UNKNOWN", "'full'")),
        (("relax", EXAMPLES / "MgO.cif", "--fixed-atoms", "0,99", "--model", "MODEL"), 2, ("E-ATOM-LIST", "99")),
        (("relax", EXAMPLES / "MgO.cif", "--fixed-atoms", "a", "--model", "MODEL"), 2, ("E-ATOM-LIST", "0,3-7")),
        (("predict", "none.cif"), 4, ("E-FILE-MISSING", "none.cif")),
        (("predict", EXAMPLES / "MgO.cif", "--model", "chgnt"), 5, ("E-MODEL-UNKNOWN", "Did you mean 'chgnet'")),
        (("predict", EXAMPLES / "MgO.cif", "--model", "m.pt"), 5, ("E-PICKLE", "m.pt")),
        (("predict", EXAMPLES / "MgO.cif", "--model", "MODEL", "--want", "force"), 2, ("E-QUANTITY-UNKNOWN", "forces")),
        (("predict", EXAMPLES / "SrTiO3.cif", "--model", "MODEL"), 1, ("E-ELEMENT-UNSUPPORTED", "Sr")),
        (
            (
                "md",
                EXAMPLES / "MgO.cif",
                "--model",
                "MODEL",
                "--steps",
                "2",
                "--temperature-K",
                "300",
                "--timestep-fs",
                "0.001",
            ),
            2,
            ("E-TIMESTEP", "fs"),
        ),
        (("laws", "MODEL", "--only", "rotatoin"), 2, ("E-LAW-UNKNOWN", "rotation")),
        (("drive", EXAMPLES / "MgO.cif", "--model", "MODEL", "--port", "1"), 2, ("E-PROTOCOL-UNNAMED", "--ipi")),
        (("drive", EXAMPLES / "MgO.cif", "--model", "MODEL", "--ipi"), 2, ("E-ADDRESS", "--unix")),
        (("parity", EXAMPLES / "MgO.cif", "--reference-python", "python"), 2, ("E-OPTION-CONFLICT", "--reference")),
        (("models", "compare", EXAMPLES / "MgO.cif", "--models", "MODEL"), 2, ("E-COMPARE-ONE", "two models")),
    ],
)
def test_refusals(run: Run, model: Path, words: tuple[str | Path, ...], code: int, says: tuple[str, ...]) -> None:
    found, out, err = run(*(model if word == "MODEL" else word for word in words))
    assert found == code
    for text in says:
        assert text in (out + err).replace("\n", " ")


def test_a_refusal_as_json(run: Run, model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.xyz"
    bad.write_text('2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3\nMg 0 0 0\nO nan 0 2\n')
    code, out, _ = run("predict", bad, "--model", model, "--json")
    assert code == 3
    error = json.loads(out)["error"]
    assert (error["code"], error["frame"], error["atoms"]) == ("E-POSITION-NOT-FINITE", 0, [1])
    assert error["file"].endswith("bad.xyz")


def test_predict_writes_what_it_prints(run: Run, model: Path, tmp_path: Path) -> None:
    target = tmp_path / "predicted.extxyz"
    words = ("predict", EXAMPLES / "MgO.cif", "--model", model, "--want", "energy,forces,stress", "--output", target)
    code, out, _ = run(*words, "--json")
    printed = json.loads(out)
    assert code == 0
    assert printed["model"].startswith("mace@")
    code, out, err = run("evaluate", target, "--model", model, "--json")
    assert code == 0
    assert "REF_energy" in err
    rows = json.loads(out)["rows"]
    assert max(rows[name]["rmse"] for name in ("energy", "forces", "stress")) < 1e-12
    code, _, err = run(*words)
    assert code == 7
    assert "E-OUTPUT-EXISTS" in err


def test_relax_and_md_leave_results_and_a_report(run: Run, model: Path, tmp_path: Path) -> None:
    words = (
        "relax",
        EXAMPLES / "MgO.cif",
        "--model",
        model,
        "--max-steps",
        "3",
        "--output",
        tmp_path / "relaxed",
        "--json",
    )
    code, out, _ = run(*words)
    (row,) = json.loads(out)["structures"]
    assert (code == 0) == (row["status"] == "converged")
    assert (tmp_path / "relaxed" / "report.html").stat().st_size > 1000
    assert json.loads((tmp_path / "relaxed" / "report.json").read_text())["title"] == "Relaxation"
    again = run(*words)
    assert json.loads(again[1])["structures"] == [row], "the same command continues, here with everything done"
    code, _, err = run(*words[:-1], "--force-tolerance", "0.5")
    assert code == 7
    assert "E-RUN-MISMATCH" in err
    code, out, _ = run(
        *(
            "md",
            EXAMPLES / "MgO.cif",
            "--model",
            model,
            "--steps",
            "20",
            "--temperature-K",
            "50",
            "--timestep-fs",
            "0.5",
        ),
        *("--output", tmp_path / "md", "--json"),
    )
    (row,) = json.loads(out)["structures"]
    assert (code == 0) == (row["status"] == "completed")
    assert (tmp_path / "md" / "report.html").exists()


def page_of(path: Path) -> dict[str, Any]:
    """The JSON twin of a page that is complete in itself."""
    text = path.read_text()
    assert "<link" not in text
    assert "src=" not in text
    twin: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    assert twin["lead"].endswith("."), "a result in a sentence"
    return twin


def facts_of(twin: dict[str, Any]) -> dict[str, Any]:
    (facts,) = [section["facts"] for section in twin["sections"] if section["kind"] == "facts"]
    return dict(facts)


def test_report_is_an_option_of_every_verb_that_computes(run: Run, model: Path, tmp_path: Path) -> None:
    mgo, named = EXAMPLES / "MgO.cif", ("--model", model)
    dynamics = ("md", mgo, *named, "--steps", "20", "--temperature-K", "50", "--timestep-fs", "0.5")
    verbs: dict[str, tuple[str | Path, ...]] = {
        "predict": ("predict", mgo, EXAMPLES / "SrTiO3.cif", *named, "--want", "energy,forces,stress"),
        "relax": ("relax", mgo, *named, "--cell", "full", "--max-steps", "3"),
        "md": dynamics,
        "evaluate": ("evaluate", EXAMPLES / "mgo_pbe.extxyz", *named),
    }
    for verb, words in verbs.items():
        code, _, err = run(*words, "--report", tmp_path / f"{verb}.html")
        assert code in (0, 1), err
        twin = page_of(tmp_path / f"{verb}.html")
        assert {"table", "figure", "facts"} <= {section["kind"] for section in twin["sections"]}
        facts = facts_of(twin)
        assert facts["model"].startswith("mace@")
        assert facts["precision"] == "float64"
        assert any(name.startswith("input ") for name in facts)
        code, _, err = run(*words, "--report", tmp_path / f"{verb}.html")
        assert code == 7, "what is there is not replaced"
        assert "E-OUTPUT-EXISTS" in err
    assert page_of(tmp_path / "predict.html")["lead"].startswith("1 of 2 structures have an answer")
    pictured = page_of(tmp_path / "relax.html")["sections"][0]["data"]
    assert next(iter(pictured)) == "MgO.cif, given"
    assert len(pictured) == 2
    for verb in ("doctor", "models"):
        assert run(verb, "--report", tmp_path / f"{verb}.html")[0] == 0
        page_of(tmp_path / f"{verb}.html")


def test_train_then_finetune_then_evaluate(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundstate.training.certificate.EXAMINED", ("rotation",))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "[model]\nchannels = 4\nlmax = 1\nhidden_lmax = 0\ncorrelation = 1\nlayers = 1\ncutoff = 3.5\n"
        "[train]\nbatch_size = 8\nweights = {energy = 1.0, forces = 1.0}\n"
        "[finetune]\nreplay_frames = 10\n"
    )
    data = EXAMPLES / "mgo_pbe.extxyz"
    code, out, err = run("train", data, "--recipe", recipe, "--epochs", "2", "--output", tmp_path / "a", "--json")
    assert code == 0, err
    assert "forces" in err, "the label table is printed before training"
    trained = json.loads(out)
    assert Path(trained["model"]).exists()
    twin = page_of(tmp_path / "a" / "report.html")
    assert twin["lead"].startswith("Validation RMSE: energy")
    assert "input mgo_pbe.extxyz" in facts_of(twin)
    listed = tmp_path / "exclude.txt"
    listed.write_text("0\n")
    words = ("--recipe", recipe, "--epochs", "2", "--output", tmp_path / "b", "--model", trained["model"])
    code, out, err = run("finetune", data, *words, "--exclude", listed)
    assert code == 0, err
    assert "input exclude.txt" in facts_of(page_of(tmp_path / "b" / "report.html"))
    assert "RMSE after" in out.replace("\n", " ")
    assert "its base" in err, "the verdict of the certificate"
    assert page_of(tmp_path / "b" / "certificate_page.html")["title"] == "Certificate of fine-tuning"
    onward = ("train", data, "--start", trained["model"], "--epochs", "1", "--output", tmp_path / "c")
    assert run(*onward, "--exclude", listed)[0] == 0
    for words, refusal in ((("--recipe", recipe), "E-START-MODEL"), (("--recipe", tmp_path / "none.toml"), "E-RECIPE")):
        code, _, err = run(*onward, *words)
        assert code == 2
        assert refusal in err


def test_advice_reaches_people_and_programs(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [Point(way, n, 0, a * n**-0.5, 1.0) for way, a in zip(WAYS, (0.5, 1.5), strict=True) for n in (10, 20, 50)]
    planted = conclude(points, "forces", "eV/Å", 2.0, 50, 0.03, 0.5)
    asked: dict[str, Any] = {}
    monkeypatch.setattr("groundstate.api.advise", lambda *given, **options: asked.update(options) or planted)
    words = ("finetune", EXAMPLES / "mgo_pbe.extxyz", "--advise", "--model", model, "--output", tmp_path / "d")
    code, out, err = run(*words, "--wanted-error", "0.03", "--cpu-hours-per-label", "0.5", "--method", "lora", "--json")
    assert code == 0, err
    assert (asked["config"].wanted, asked["config"].cpu_hours_per_label, asked["method"]) == (0.03, 0.5, "lora")
    assert page_of(tmp_path / "d" / "report.html")["lead"] == json.loads(out)["sentence"] == planted.sentence
    assert "CPU hours" in run(*words)[1]


def test_models_doctor_and_laws(run: Run, model: Path, tmp_path: Path) -> None:
    code, out, _ = run("models", "--json")
    assert code == 0
    assert any(row["name"] == "chgnet" and row["licence"] for row in json.loads(out))
    assert run("models", "chgnet")[0] == 0
    assert run("models", model)[0] == 0
    code, out, _ = run("doctor", "--json")
    assert code == 0
    assert {"python", "accelerator"} <= set(json.loads(out)["machine"])
    code, out, _ = run("laws", model, "--only", "rotation,permutation", "--report", tmp_path / "laws.html", "--json")
    assert code == 0
    assert [row["verdict"] for row in json.loads(out)["laws"]] == ["pass", "pass"]
    assert page_of(tmp_path / "laws.html")["lead"] == "2 of 2 laws that apply are kept."
