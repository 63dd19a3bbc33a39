"""What is written is read back bit for bit, and never over somebody's result."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ase.io import read as ase_read

from groundstate.atoms import GroundstateError, LevelOfTheory, System
from groundstate.data import Provenance, Record, read, write
from labelled_water import WATER, one

THEORY = LevelOfTheory(
    "PBE", hubbard_u=(("Fe", 5.3),), dispersion="D3(BJ)", code='VASP "6.4"', energy_zero="pseudo-cores"
)


def random_record(seed: int, *, forces: bool = True) -> Record:
    """A structure whose every number needs all its digits."""
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.tensor([26, 8, 1])

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=draw)

    system = System.single(
        torch.diag(torch.tensor([0.0, 2.0, 4.0], dtype=torch.float64)) + 0.1 * random(3, 3),
        numbers,
        cell=8 * torch.eye(3, dtype=torch.float64) + 0.3 * random(3, 3),
        pbc=(True, True, False),
        masses=[55.845, 15.999, 2.01410177812],
        charge=-1.5,
        multiplicity=3,
    )
    stress = random(3, 3)
    labels = {"energy": 1e3 * random(), "stress": 1e-2 * (stress + stress.T), "charges": random(3)}
    if forces:
        labels |= {"forces": random(3, 3), "magnetic_moments": random(3), "born_charges": random(3, 3, 3)}
    tags = {
        "config_type": "slab",
        "note": 'a "quoted" = {braced} \\ text, [list]',
        "id": "0012",
        "two words": "caf\udce9",
    }
    return Record(system, labels, THEORY, Provenance(tags=tags))


def assert_same(one: Record, other: Record) -> None:
    """Equal to the last bit."""
    for name in ("positions", "numbers", "cell", "pbc", "masses", "charge", "multiplicity"):
        assert torch.equal(getattr(one.system, name), getattr(other.system, name)), name
    assert one.labels.keys() == other.labels.keys()
    for name, label in one.labels.items():
        assert torch.equal(label, other.labels[name]), name
    assert one.theory == other.theory
    assert one.provenance.tags == other.provenance.tags


@pytest.mark.parametrize("keys", ["reference", "ase"])
@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz.gz"])
def test_round_trip_is_exact(tmp_path: Path, keys: str, name: str) -> None:
    records = [random_record(1), random_record(2, forces=False)]
    path = write(tmp_path / name, records, keys=keys)  # type: ignore[arg-type]
    back = read(path).records
    for before, after in zip(records, back, strict=True):
        assert_same(before, after)


def test_what_is_not_given_is_not_written(tmp_path: Path) -> None:
    record = Record(System.single([[0.0, 0, 0]], [1]))
    (back,) = read(write(tmp_path / "h.xyz", [record])).records
    assert (back.system.charge, back.system.multiplicity, back.theory, back.labels) == (None, None, None, {})
    assert (tmp_path / "h.xyz").read_text() == '1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0.0 0.0 0.0\n'


def test_ase_reads_both_kinds(tmp_path: Path) -> None:
    record = one(tmp_path, WATER)
    atoms = ase_read(write(tmp_path / "ase.extxyz", [record], keys="ase"))
    assert atoms.get_potential_energy() == -14.25
    assert atoms.get_stress().tolist() == [1e-3, 2e-3, 3e-3, 0, 0, 0]
    atoms = ase_read(write(tmp_path / "reference.extxyz", [record]))
    assert atoms.info["REF_energy"] == -14.25
    assert atoms.arrays["REF_forces"][0].tolist() == [0.1, 0.2, 0.3]
    assert atoms.calc is None


def test_choice_between_keys_is_not_asked_again(tmp_path: Path) -> None:
    record = one(tmp_path, WATER.replace(" energy=", " REF_energy=-3.0 energy="), keys={"energy": "REF_energy"})
    (back,) = read(write(tmp_path / "b.xyz", [record])).records
    assert float(back.labels["energy"]) == -3.0


def test_existing_output_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("a result")
    with pytest.raises(GroundstateError, match=r"E-OUTPUT-EXISTS.*overwrite"):
        write(path, [random_record(1)])
    assert path.read_text() == "a result"
    write(path, [random_record(1)], overwrite=True)
    assert len(read(path)) == 1


def test_an_interrupted_write_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.xyz"
    path.write_text("a result")

    def failing() -> "object":
        yield random_record(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, failing(), overwrite=True)  # type: ignore[arg-type]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.xyz"]
    assert path.read_text() == "a result"


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("a.cif", {}, "E-FILE-FORMAT"),
        ("nowhere/a.xyz", {}, "E-OUTPUT-FOLDER"),
        ("a.xyz", {"keys": "REF"}, "E-OPTION"),
    ],
)
def test_refused_targets(tmp_path: Path, name: str, options: dict[str, str], code: str) -> None:
    with pytest.raises(GroundstateError) as caught:
        write(tmp_path / name, [random_record(1)], **options)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_a_record_is_one_structure(tmp_path: Path) -> None:
    record = random_record(1)
    with pytest.raises(GroundstateError, match="E-RECORD"):
        write(tmp_path / "a.xyz", [replace(record, system=System.batch([record.system] * 2))])


def test_compressed_output_is_compressed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.extxyz.gz", [random_record(1)])
    assert gzip.decompress(path.read_bytes()).startswith(b"3\nLattice=")
