"""A certificate says what became worse, and does not call that better."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import System
from groundstate.data import Record
from groundstate.potentials import Potential, checkpoint
from groundstate.potentials.mace import MACEConfig, build
from groundstate.report import certificate_page
from groundstate.training import Certificate, FinetuneConfig, TrainConfig, finetune
from groundstate.training.before_after import diatomics, moved, nearness
from groundstate.training.certificate import BaseSet
from toys import fcc, lennard_jones
from training.specimens import copper

ELEMENTS = (8, 12, 29)
SMALL = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=4.0)
CONFIG = TrainConfig(
    epochs=4, batch_size=4, weights={"energy": 1.0, "forces": 1.0}, largest_offset=30.0, accelerator="cpu"
)


def base() -> Potential:
    return build(SMALL, elements=ELEMENTS, reference_energies=[dict.fromkeys(ELEMENTS, 0.0)]).requires_grad_(False)


@pytest.mark.parametrize("method", ["heads", "lora"])
def test_a_tuned_model_carries_its_certificate(tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groundstate.training.certificate.EXAMINED", ("rotation", "repulsion"))
    given, sets = base(), (copper(8, seed=3), copper(4, seed=4))
    plan = FinetuneConfig(method=method, rank=2, replay_share=0.5, replay_frames=20)
    result = finetune(given, *sets, CONFIG, tmp_path, plan=plan)
    certificate = result.certificate
    assert certificate is not None
    assert (certificate.base, certificate.model) == (given.fingerprint(), result.potential.fingerprint())
    loaded = checkpoint.load(result.path)
    assert loaded.fingerprint() == certificate.model
    assert loaded.describe() == given.describe()
    changed = {row.part for row in certificate.moved if row.changed > 0}
    assert ("layer 1, radial" in changed) == (method == "lora")
    assert {"head of energies", "references"} <= changed
    assert "embedding" not in changed
    assert {row.law for row in certificate.laws} == {"rotation", "repulsion"}
    assert [row.pair for row in certificate.diatomics] == ["Cu–Cu"]
    assert certificate.base_set.rise is not None
    stored = checkpoint.inspect(result.path)["notes"]["certificate"]
    assert stored["reasons"] == list(certificate.reasons)
    assert "distances" not in stored["diatomics"][0]
    page = certificate_page(certificate, {}).write(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Certificate of fine-tuning" in page
    again = finetune(given, *sets, CONFIG, tmp_path, plan=plan).certificate
    assert again is not None
    assert again.as_dict() == certificate.as_dict()
    worse = replace(certificate, reasons=("forces RMSE rose",))
    assert not worse.better
    assert Certificate.from_dict(worse.as_dict()).reasons == worse.reasons


def test_what_counts_as_forgotten() -> None:
    assert BaseSet("predictions", 5, None, None, 0.11).forgotten
    assert not BaseSet("predictions", 5, None, None, 0.09).forgotten
    assert not BaseSet("none", 0, None, None, None).forgotten


def test_a_false_minimum_of_a_diatomic_is_seen() -> None:
    pair = diatomics(lennard_jones(), lennard_jones(epsilon=0.3), [29])[0]
    assert pair.minima == (1, 1)
    assert min(pair.after) == pytest.approx(1.5 * min(pair.before), rel=0.05)


def test_a_scaled_layer_has_moved_by_its_scale() -> None:
    before, after = base(), base()
    with torch.no_grad():
        for parameter in after.get_submodule("trunk.layers.0.mix").parameters():
            parameter.mul_(1.1)
    rows = {row.part: row for row in moved(before, after)}
    assert rows["layer 1, mix"].relative == pytest.approx(0.1, rel=1e-4)
    assert rows["layer 1, mix"].changed == 1.0
    assert rows["layer 1, radial"].relative == 0.0


def test_near_copies_are_counted_whatever_their_origin() -> None:
    perfect = fcc(29, 3.6)
    taught = Record(perfect)
    noise = 0.01 * torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lattice = perfect.cell[0]
    near = perfect.replace(positions=perfect.positions + noise + 1.7 + lattice[0])  # drifted, and in another image
    far = perfect.replace(positions=perfect.positions + 20 * noise)
    other = System.single(perfect.positions, [12] * 4, cell=lattice, pbc=True)
    found = nearness([taught], [Record(near), Record(far), Record(other)])
    assert (found.judged, found.compared, found.near_copies) == (3, 2, 1)
    assert found.smallest == pytest.approx(float((noise - noise.mean(0)).square().sum(1).mean().sqrt()), rel=1e-3)
