"""Names that mean one thing for ever, and files that run no code."""

import json
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from groundstate import zoo
from groundstate.atoms import ModelError, OptionError
from groundstate.potentials import Sum, checkpoint
from groundstate.zoo import catalogue
from groundstate.zoo.catalogue import Card

ID = "chgnet-0.3.0@d14ab7c0f093"


def _table() -> dict[str, Any]:
    text = files("groundstate.zoo").joinpath("cards/chgnet-0.3.0.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@pytest.mark.parametrize("name", ["chgnet", "chgnet-0.3.0", ID])
def test_names_resolve_to_the_immutable_id(name: str) -> None:
    assert zoo.resolve(name).id == ID


@pytest.mark.parametrize("name", ["chgnett", "CHGNet", "chgnet-0.2.0", "chgnet-0.3.0@000000000000", ""])
def test_unknown_names_are_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(ModelError, match=r"chgnet-0\.3\.0") as refusal:
        zoo.load(name)
    assert refusal.value.code == "E-MODEL-UNKNOWN"


def test_a_name_of_two_versions_chooses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = Card.from_dict({**_table(), "version": "0.4.0"})
    both = MappingProxyType({"chgnet-0.3.0": zoo.resolve("chgnet"), "chgnet-0.4.0": newer})
    monkeypatch.setattr(catalogue, "cards", lambda: both)
    with pytest.raises(ModelError, match=f"E-MODEL-AMBIGUOUS.*{ID}"):
        zoo.resolve("chgnet")
    assert zoo.resolve("chgnet-0.3.0").id == ID


def test_every_card_is_keyed_by_name_and_version_and_is_plain_data() -> None:
    for key, card in zoo.cards().items():
        assert key == f"{card.name}-{card.version}"
        plain = card.as_dict()
        assert plain["id"] == card.id
        assert plain["licence"]
        assert any(word in plain["citation"] for word in ("doi:", "arXiv:", "https://"))
        assert all(isinstance(value, str | int | float | list | dict) for value in plain.values())
        json.dumps(plain)
        assert f"{key}.toml" in {entry.name for entry in files("groundstate.zoo").joinpath("cards").iterdir()}


def test_ids_carry_a_hash_exactly_where_one_is_known() -> None:
    for card in zoo.cards().values():
        assert ("@" in card.id) == card.weights.pinned
        assert bool(zoo.recorded_as(card.key)) == card.weights.pinned
    assert not zoo.resolve("mace-mp-0").weights.pinned


def test_cards_are_chosen_by_licence_elements_and_charge() -> None:
    assert {card.commercial for card in zoo.chosen(commercial=True)} == {"yes"}
    names = {card.name for card in zoo.chosen(elements=["Mg", "O"])}
    assert {"chgnet", "7net-0", "mace-mpa-0"} <= names
    assert not names & {"aimnet2", "orb-v3-direct"}  # one has no magnesium, the other states no elements
    assert {"aimnet2", "uma-s-1p1-omol"} <= {card.name for card in zoo.chosen(charge=True)}
    assert "chgnet" not in {card.name for card in zoo.chosen(charge=True)}


def test_what_may_not_be_used_commercially_says_so() -> None:
    assert zoo.resolve("mace-off23").commercial == "no"
    assert zoo.resolve("uma-s-1p1-omat").commercial == "see licence"
    assert zoo.resolve("orb-v3-direct").conservative is False


@pytest.mark.parametrize(
    "change",
    [
        {"licence": ""},
        {"weights": {"source": "package", "files": [{"name": "a", "sha256": "d14ab7c0f093"}]}},
        {"weights": {"source": "somewhere", "files": [{"name": "a"}]}},
        {"weights": {"source": "package", "files": [{"name": "a", "hash": "0"}]}},
        {"commercial": "perhaps"},
        {"precisions": ["float16"]},
        {"conditions": {"charge": "ignores"}},
        {"conditions": {"charge": "maybe", "multiplicity": "ignores", "theory": "ignores"}},
        {"licence_text": "BSD"},
    ],
)
def test_a_card_with_a_wrong_field_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="E-CARD"):
        Card.from_dict({**_table(), **change})


def test_a_card_without_a_field_is_refused() -> None:
    table = _table()
    del table["citation"]
    with pytest.raises(OptionError, match="'citation' is missing"):
        Card.from_dict(table)


@pytest.mark.parametrize("suffix", ["pt", "pth", "model", "pkl", "ckpt", "PT"])
def test_pickles_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"model.{suffix}"
    file.write_bytes(b"\x80\x04never read")
    with pytest.raises(ModelError, match="E-PICKLE"):
        zoo.load(file)


def test_a_missing_model_file_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="E-MODEL-MISSING"):
        zoo.load(tmp_path / "chgnet.safetensors")


@pytest.mark.usefixtures("needs_chgnet")
def test_a_file_that_stands_on_a_public_model_names_it_and_stays_small(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    saved = checkpoint.save(Sum([zoo.load("chgnet")]), file)
    assert file.stat().st_size < 10_000
    assert zoo.load(file).fingerprint() == saved
    with pytest.raises(OptionError, match="E-OPTION-CONFLICT"):
        zoo.load(file, precision="float64")


@pytest.mark.usefixtures("needs_chgnet")
def test_a_file_that_stands_on_other_weights_is_refused() -> None:
    description = zoo.load("chgnet").describe()
    with pytest.raises(ModelError, match="E-WEIGHTS"):
        zoo.BUILDERS["chgnet"]({**description, "weights_sha256": "0" * 64})


@pytest.mark.usefixtures("needs_chgnet")
def test_loading_imports_no_foreign_package_and_changes_no_setting() -> None:
    program = """
import sys, warnings, torch
def settings():
    return torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(), torch.initial_seed()
before = settings()
from groundstate import zoo
filters = list(warnings.filters)
zoo.load("chgnet")
assert settings() == before
assert list(warnings.filters) == filters
assert not {"chgnet", "pymatgen"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
