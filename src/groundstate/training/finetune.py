"""Teaching a model one's own labels."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from groundstate.atoms.elements import symbols
from groundstate.data import Record, fit_reference_energies
from groundstate.potentials import Potential, ReferenceEnergies, Sum, evaluate, refuse_not_finite
from groundstate.potentials.mace import MACEConfig
from groundstate.training.aims import FitLabels
from groundstate.training.config import TrainConfig
from groundstate.training.error_table import evaluate_errors
from groundstate.training.identity import structure_hash
from groundstate.training.preflight import refuse_contradictions
from groundstate.training.result import TrainResult
from groundstate.training.run_folder import RunFolder
from groundstate.training.runs import train
from groundstate.training.scratch import build_for, untrained

CONTINUED = frozenset({"mace"})
"""Kinds of potential whose own weights are trained further; the others get a correction."""
_LEARNED = ("energy", "forces", "stress")


def finetune(
    base: Potential,
    train_records: Sequence[Record],
    valid_records: Sequence[Record],
    config: TrainConfig,
    output_dir: str | os.PathLike[str],
    *,
    model: MACEConfig | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Fit `base` to these labels, and compare it before and after on the validation frames.

    A model of our own continues: a copy of it with all weights free. Any other potential is kept as it is, and a small
    MACE (`model`) learns what its predictions lack; the result is their sum and knows the elements of these frames
    only. In both cases reference energies are first fitted to the residual energies, by the smallest shift that serves,
    so that a difference of code or pseudopotentials is not learned as chemistry.
    Checked: tests/training/test_finetune.py
    """
    aim = FitLabels(config.weights, loss=config.loss, huber_delta=config.huber_delta)
    refuse_contradictions(base, train_records, valid_records, aim, config)
    predictions = _Predictions(base, Path(output_dir) / "base_predictions.safetensors")
    lacking = predictions.residuals(train_records)
    shift = fit_reference_energies(lacking)
    elements = sorted(shift.energies)
    named = dict(zip(symbols(elements), (shift.energies[z] for z in elements), strict=True))
    notes = {"base": base.fingerprint(), "reference_shift": {"energies_eV": named, "note": shift.note}}
    before = evaluate_errors(base, valid_records)
    assemble: Callable[[Potential], Potential] | None = None
    if base.describe()["kind"] in CONTINUED:
        potential: Potential = copy.deepcopy(base).requires_grad_(True)
        _shift_references(potential, shift.energies, train_records)
        taught, judged = train_records, valid_records
    else:
        potential = build_for(lacking, model or MACEConfig.of_size("XS"), shift.energies, config.seed, zbl=False)
        config = untrained(config)
        taught, judged = lacking, predictions.residuals(valid_records)

        def assemble(correction: Potential) -> Potential:
            return Sum([base, correction])

    return train(
        potential,
        taught,
        judged,
        config,
        output_dir,
        assemble=assemble,
        before=before,
        notes=notes,
        progress=progress,
        overwrite=overwrite,
    )


def _shift_references(potential: Potential, shifts: Mapping[int, float], records: Sequence[Record]) -> None:
    """Add to the reference energies of the levels of theory that the records ask for."""
    given = [record.system.theory for record in records]
    levels = sorted({0 if theory is None else int(theory[0]) for theory in given})
    for term in potential.modules():
        if isinstance(term, ReferenceEnergies):
            for number, shift in shifts.items():
                term.get_buffer("table")[levels, number] += shift


class _Predictions:
    """What the base says of the training structures: computed once, kept in the run's folder under structure hashes."""

    def __init__(self, base: Potential, file: Path) -> None:
        self._base, self._file, self._known = base, file, dict[str, Tensor]()
        self._identity = base.fingerprint()
        if file.exists():
            with safe_open(str(file), framework="pt") as stored:
                if (stored.metadata() or {}).get("base") == self._identity:
                    self._known = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118

    def residuals(self, records: Sequence[Record]) -> list[Record]:
        """The records with labels − predictions in place of labels; quantities without derivatives are dropped."""
        found = []
        for record in records:
            key = structure_hash(record.system)
            names = [name for name in _LEARNED if name in record.labels]
            self._predict(record, key, [name for name in names if f"{key}/{name}" not in self._known])
            lacking = {name: record.labels[name].double() - self._known[f"{key}/{name}"] for name in names}
            found.append(replace(record, labels=lacking))
        file = RunFolder(self._file.parent)
        file.path.mkdir(parents=True, exist_ok=True)
        file.write(self._file.name, to_bytes(self._known, metadata={"base": self._identity}))
        return found

    def _predict(self, record: Record, key: str, names: Sequence[str]) -> None:
        if not names:
            return
        values = evaluate(self._base, record.system, names)
        refuse_not_finite(values, record.system)
        for name, value in values.items():
            self._known[f"{key}/{name}"] = (value if name == "forces" else value[0]).double().cpu().contiguous()
