"""Converted models of mace-torch give what mace-torch gives; what is not translated is refused by its name.

The numbers were made by tests/golden/make_mace_golden.py under mace-torch itself (`make parity` makes them again).
"""

import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command_line import Run
from groundstate import api
from groundstate.atoms import GroundstateError, ModelError, OptionError, System
from groundstate.potentials import checkpoint, evaluate
from groundstate.zoo.mace import convert as door
from groundstate.zoo.mace import extract
from groundstate.zoo.mace.conversion import Converted, translate
from groundstate.zoo.mace.extraction import Extraction, run_extraction

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = sorted(path.stem.removeprefix("mace_") for path in GOLDEN.glob("mace_*.npz"))


@cache
def extraction(name: str) -> Extraction:
    return Extraction.load(GOLDEN / f"mace_{name}.npz")


@cache
def translated(name: str, radial_knots: int | None = None) -> Converted:
    return translate(extraction(name), radial_knots=radial_knots)


def changed(name: str, path: str, **attributes: Any) -> Extraction:
    """An extraction in which one module says something else of itself."""
    found = extraction(name)
    modules = {**found.modules, path: {**found.modules.get(path, {}), **attributes}}
    return Extraction(found.arrays, modules, found.versions)


def structure(found: Extraction, label: str, theory: int | None = None) -> System:
    arrays = found.arrays
    cell = arrays[f"reference.{label}.cell"]
    return System.single(
        arrays[f"reference.{label}.positions"],
        arrays[f"reference.{label}.numbers"].tolist(),
        cell=cell,
        pbc=bool(cell.any()),
        theory=theory,
    )


def worst_error(converted: Converted, found: Extraction, label: str, head: int | None) -> float:
    """The largest deviation of any quantity over its largest value."""
    results = {
        name: found.arrays[f"reference.{label}.{head or 0}.{name}"]
        for name in ("energy", "energies", "forces", "stress")
        if f"reference.{label}.{head or 0}.{name}" in found.arrays
    }
    given = evaluate(converted.model, structure(found, label, head), tuple(results))
    return max(
        float(np.abs(given[name].detach().numpy().reshape(value.shape) - value).max() / np.abs(value).max())
        for name, value in results.items()
    )


def heads_of(converted: Converted) -> list[int | None]:
    """What `theory` may be: a model with one head ignores it."""
    heads: list[int | None] = list(range(len(converted.notes["imported"]["heads"])))
    return heads if len(heads) > 1 else [None]


def test_every_shape_has_its_file() -> None:
    assert NAMES == ["agnesi", "heads", "large", "medium", "repulsion", "small", "soft", "unscaled"]


@pytest.mark.parametrize("label", ["crystal", "molecule"])
@pytest.mark.parametrize("name", NAMES)
def test_the_function_is_the_same(name: str, label: str) -> None:
    found, converted = extraction(name), translated(name, 0)
    for head in heads_of(converted):
        assert worst_error(converted, found, label, head) < 1e-10
    assert converted.notes["imported"]["largest_coupling_residual"] < 1e-13


@pytest.mark.parametrize("label", ["crystal", "molecule"])
@pytest.mark.parametrize("name", NAMES)
def test_tables_keep_it_the_same(name: str, label: str) -> None:
    """With as many knots as are chosen for float64, on whatever kernels there are."""
    found, converted = extraction(name), translated(name)
    for head in heads_of(converted):
        assert worst_error(converted, found, label, head) < 1e-8


@pytest.mark.parametrize("part", ["weights_max", "weights.0", "skip_tp", "conv_tp_weights.layer0", "readouts.0"])
def test_every_part_counts(part: str) -> None:
    """The comparison would notice any of these parts going missing."""
    found = extraction("medium")
    arrays = {
        key: value * 0.999 if part in key and "zeroed" not in key else value for key, value in found.arrays.items()
    }
    broken = translate(Extraction(arrays, found.modules, found.versions), radial_knots=0)
    assert worst_error(broken, found, "crystal", None) > 1e-7


def test_an_atom_alone_has_the_energy_it_has_there_and_no_forces() -> None:
    """With a first residual its energy is not the reference energy, but what its element carries through the layers."""
    model = translated("medium").model
    found = evaluate(model, System.single([[0.0, 0.0, 0.0]], [8]), ("energy", "forces"))
    assert abs(float(found["energy"]) + 0.8) > 1e-3
    assert float(found["forces"].abs().max()) == 0.0


def test_couplings_rounded_to_float32_are_recognised() -> None:
    """A float32 checkpoint becomes a float32 model that agrees to float32."""
    found = extraction("medium")
    arrays = {
        key: value.astype(np.float32) if value.dtype == np.float64 and not key.startswith("reference") else value
        for key, value in found.arrays.items()
    }
    single = Extraction(arrays, found.modules, found.versions)
    converted = translate(single)
    assert next(converted.model.trunk.parameters()).dtype == torch.float32  # type: ignore[union-attr]
    assert worst_error(converted, found, "crystal", None) < 1e-4
    assert 1e-9 < converted.notes["imported"]["largest_coupling_residual"] < 1e-6
    assert worst_error(translate(single, "float64"), found, "crystal", None) < 1e-5


def test_the_file_is_one_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the door: conversion, the model file, its notes; reading the pickle is played from a golden file."""
    monkeypatch.setattr("groundstate.zoo.mace.conversion.run_extraction", lambda *_: extraction("heads"))
    source, target = tmp_path / "a.model", tmp_path / "a.safetensors"
    source.write_bytes(b"PK")
    loaded = api.convert("mace", source, target, trust_pickle=True)
    imported = checkpoint.inspect(target)["notes"]["imported"]
    assert imported["heads"] == ["first", "second"]
    assert imported["versions"]["mace-torch"]
    assert imported["file"] == "a.model"
    assert len(imported["sha256"]) == 64
    system = structure(extraction("heads"), "crystal", 1)
    energy = float(evaluate(loaded.potential, system, ("energy",))["energy"])
    assert energy == pytest.approx(float(extraction("heads").arrays["reference.crystal.1.energy"][0]), rel=1e-12)
    with pytest.raises(GroundstateError, match="E-OUTPUT-EXISTS"):
        api.convert("mace", source, target, trust_pickle=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_way_from_a_checkpoint(name: str, tmp_path: Path) -> None:
    """Pickle, other interpreter, our file, our numbers: `make parity` has the interpreter and the checkpoints."""
    python, folder = os.environ.get("MACE_PYTHON"), os.environ.get("MACE_CHECKPOINTS")
    if not python or not folder:
        pytest.skip("MACE_PYTHON and MACE_CHECKPOINTS are not set: `make parity` sets them")
    target = tmp_path / "m.safetensors"
    converted = door(Path(folder) / f"mace_{name}.model", target, trust_pickle=True, python=python)
    loaded = api.load(target).potential
    assert loaded.fingerprint() == converted.model.fingerprint()
    found = extraction(name)
    for head in heads_of(converted):
        assert worst_error(converted, found, "crystal", head) < 1e-8


@pytest.mark.parametrize(
    ("path", "attributes", "names"),
    [
        ("", {"class": "MACELES"}, "MACELES"),
        ("interactions.0", {"class": "RealAgnosticDensityInteractionBlock"}, "RealAgnosticDensityInteractionBlock"),
        ("interactions.1", {"class": "RealAgnosticResidualNonLinearInteractionBlock"}, "NonLinearInteractionBlock"),
        ("joint_embedding", {"class": "GenericJointEmbedding"}, "joint_embedding"),
        ("readouts.1", {"class": "NonLinearBiasReadoutBlock"}, "NonLinearBiasReadoutBlock"),
        ("readouts.1", {"class": "LinearReadoutBlock"}, "readouts.1"),
        ("radial_embedding.bessel_fn", {"class": "GaussianBasis"}, "GaussianBasis"),
        ("interactions.0", {"cueq_config": {"enabled": True}}, "convert it back to e3nn"),
        ("", {"use_agnostic_product": True}, "use_agnostic_product"),
        ("products.0", {"use_sc": False}, "no residual"),
        ("readouts.1.non_linearity.acts.0", {"f": "tanh"}, "tanh"),
        ("products.1.linear", {"irreps_out": "8x0e+8x1o"}, "products.1.linear"),
        ("interactions.1.linear_up", {"irreps_out": "4x0e+4x1o"}, "interactions.1.linear_up"),
        ("products.1.symmetric_contractions.contractions.0", {"correlation": 2}, "layer to layer"),
    ],
)
def test_other_parts_are_refused_by_name(path: str, attributes: dict[str, Any], names: str) -> None:
    with pytest.raises(ModelError, match="E-MACE-UNSUPPORTED") as caught:
        translate(changed("medium", path, **attributes))
    assert names in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key", "factor", "code"),
    [
        ("medium", "radial_embedding.bessel_fn.bessel_weights", 1.01, "E-MACE-UNSUPPORTED"),
        ("agnesi", "radial_embedding.distance_transform.a", 1.01, "E-MACE-UNSUPPORTED"),
        ("agnesi", "radial_embedding.distance_transform.covalent_radii", 1.01, "E-MACE-UNSUPPORTED"),
        ("repulsion", "pair_repulsion_fn.a_exp", 1.01, "E-MACE-UNSUPPORTED"),
        ("medium", "products.0.symmetric_contractions.contractions.1.U_matrix_2", None, "E-MACE-COUPLING"),
    ],
)
def test_other_constants_are_refused(name: str, key: str, factor: float | None, code: str) -> None:
    found = extraction(name)
    value = found.arrays[key]
    other = np.asarray(value * factor) if factor else np.random.default_rng(0).standard_normal(value.shape)
    with pytest.raises(ModelError, match=code):
        translate(Extraction({**found.arrays, key: other}, found.modules, found.versions))


def test_a_model_of_another_kind_is_foreign() -> None:
    with pytest.raises(ModelError, match=r"E-MACE-FOREIGN.*Linear"):
        translate(Extraction({}, {"": {"class": "Linear"}}, {}))
    short = extraction("small")
    less = {path: module for path, module in short.modules.items() if path != "interactions.0.conv_tp_weights"}
    with pytest.raises(ModelError, match=r"E-MACE-INCOMPLETE.*'hs' of interactions.0"):
        translate(Extraction(short.arrays, less, short.versions))
    fewer = {name: array for name, array in short.arrays.items() if name != "r_max"}
    with pytest.raises(ModelError, match=r"E-MACE-INCOMPLETE.*r_max"):
        translate(Extraction(fewer, short.modules, short.versions))
    with pytest.raises(ModelError, match="E-MACE-SHAPE"):
        translate(
            Extraction(
                {**short.arrays, "interactions.0.linear.weight": np.zeros(3)},
                short.modules,
                short.versions,
            )
        )


def speaking(folder: Path, text: str) -> str:
    """An interpreter that does something else."""
    script = folder / "python"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo 'No module named mace' >&2; exit 3", "E-MACE-PACKAGE"),
        ("echo 'UnpicklingError: broken' >&2; exit 4", "E-MACE-UNREADABLE"),
        ("echo 'a dict' >&2; exit 5", "E-MACE-FOREIGN"),
        ("kill -9 $$", "E-MACE-EXTRACTION"),
        ("exit 0", "E-MACE-EXTRACTION"),
        ("sleep 20", "E-MACE-TIMEOUT"),
    ],
)
def test_what_goes_wrong_over_there_is_told(tmp_path: Path, script: str, code: str) -> None:
    source = tmp_path / "a.model"
    source.write_bytes(b"PK")
    with pytest.raises(GroundstateError, match=code) as caught:
        run_extraction(source, speaking(tmp_path, script), 0.5 if "sleep" in script else 20.0)
    assert caught.value.file == str(source)


def test_doors_refuse_before_anything_is_read(tmp_path: Path) -> None:
    source, target = tmp_path / "a.model", tmp_path / "a.safetensors"
    with pytest.raises(OptionError, match="E-PICKLE-TRUST"):
        door(source, target, trust_pickle=False)
    with pytest.raises(OptionError, match="E-MODEL-SUFFIX"):
        door(source, tmp_path / "a.pt", trust_pickle=True)
    with pytest.raises(ModelError, match="E-MODEL-MISSING"):
        door(source, target, trust_pickle=True)
    source.write_bytes(b"PK")
    with pytest.raises(OptionError, match="E-MACE-PYTHON"):
        door(source, target, trust_pickle=True, python=str(tmp_path / "no-python"))
    with pytest.raises(OptionError, match=r"E-MODEL-FAMILY.*mace"):
        api.convert("mac", source, target, trust_pickle=True)
    assert not target.exists()


def test_extraction_without_mace_torch_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "mace" in sys.modules:
        pytest.skip("mace-torch is loaded")
    sys.modules["mace"] = None  # type: ignore[assignment]
    try:
        assert extract.main(str(tmp_path / "a.model"), str(tmp_path / "a.npz")) == extract.NO_PACKAGE
    finally:
        del sys.modules["mace"]
    assert "mace" in capsys.readouterr().err


def test_the_command_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "a.model", tmp_path / "a.safetensors"
    words = ("models", "convert", "mace", source, "--output", target)
    code, _, err = run(*words)
    assert (code, "E-PICKLE-TRUST" in err, "--trust-pickle" in err) == (2, True, True)
    code, out, _ = run(*words, "--trust-pickle", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (5, "E-MODEL-MISSING")
    source.write_bytes(b"PK")
    code, _, err = run(*words, "--trust-pickle", "--python", speaking(tmp_path, "exit 3"))
    assert (code, "E-MACE-PACKAGE" in err) == (7, True)
    code, _, err = run(*words, "--trust-pickle", "--python", tmp_path / "none")
    assert (code, "E-MACE-PYTHON" in err) == (2, True)
    monkeypatch.setattr("groundstate.zoo.mace.conversion.run_extraction", lambda *_: extraction("small"))
    code, out, err = run(*words, "--trust-pickle", "--precision", "float32", "--json")
    assert code == 0, err
    assert json.loads(out)["id"].startswith("mace@")
    code, out, _ = run("models", "--json", target)
    assert json.loads(out)[0]["description"]["config"]["dtype"] == "float32"
    code, _, err = run(*words, "--overwrite", "--trust-pickle", "--precision", "float16")
    assert (code, "E-OPTION-UNKNOWN" in err) == (2, True)
