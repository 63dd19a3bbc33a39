"""Teaching a model one's own labels."""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from groundstate.atoms import OptionError
from groundstate.atoms.elements import symbols
from groundstate.data import Record, fit_reference_energies
from groundstate.potentials import Potential, ReferenceEnergies, Sum
from groundstate.potentials.mace import MACEConfig
from groundstate.training.adapters import Adapted, free_heads, merged
from groundstate.training.aims import FitLabels
from groundstate.training.base_labels import BaseLabels, levels_of, shifted, zeros
from groundstate.training.certificate import certified
from groundstate.training.config import TrainConfig
from groundstate.training.error_table import evaluate_errors
from groundstate.training.finetune_config import FinetuneConfig
from groundstate.training.preflight import refuse_contradictions
from groundstate.training.replay import NO_REPLAY, Replay, mixture, prepare, stretched
from groundstate.training.result import TrainResult
from groundstate.training.run_folder import RunFolder
from groundstate.training.runs import train
from groundstate.training.scratch import build_for, untrained

CONTINUED = frozenset({"mace"})
"""Kinds of potential whose own weights are trained further; the others get a correction."""


def finetune(
    base: Potential,
    train_records: Sequence[Record],
    valid_records: Sequence[Record],
    config: TrainConfig,
    output_dir: str | os.PathLike[str],
    *,
    plan: FinetuneConfig | None = None,
    replay: Sequence[Record] | None = None,
    model: MACEConfig | None = None,
    certify: bool = True,
    progress: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Fit `base` to these labels, and compare it before and after.

    A model of our own continues: a copy of it, of which `plan` says what is free. Any other potential is kept as it is,
    and a small MACE (`model`) learns what its predictions lack; the result is their sum and knows the elements of these
    frames (and of replay) only. In both cases reference energies are first fitted to the residual energies, by the
    smallest shift that serves, so that a difference of code or pseudopotentials is not learned as chemistry.

    replay   structures to keep the base's predictions on, where `plan` asks for that; made on the spot when `None`.
             Labels of their own are not learned; they judge base and result alike
    certify  leave a `Certificate` beside the weights, its summary within them
    Checked: tests/training/test_finetune.py
    """
    plan = plan or FinetuneConfig()
    aim = FitLabels(config.weights, loss=config.loss, huber_delta=config.huber_delta)
    refuse_contradictions(base, train_records, valid_records, aim, config)
    known = BaseLabels(base, Path(output_dir) / "base_predictions.safetensors")
    lacking = known.residuals(train_records)
    shift = fit_reference_energies(lacking)
    continued = base.describe()["kind"] in CONTINUED
    elements = None if continued else sorted(shift.energies)
    kept = NO_REPLAY
    if certify or plan.replay_share > 0:
        kept = prepare(base, train_records, plan, known, aim.requires, config.seed, given=replay, elements=elements)
    assemble: Callable[[Potential], Potential] | None = None
    if continued:
        potential, assemble = _continued(base, plan, config.seed)
        shift_references(potential, shift.energies, levels_of(train_records))
        taught, judged = list(train_records), list(valid_records)
        anchors = shifted(kept.taught, shift.energies, levels_of(train_records))
    else:
        potential, assemble = _correction(base, plan, model, lacking, kept, shift.energies, config.seed)
        config = untrained(config)
        taught, judged = lacking, known.residuals(valid_records)
        anchors = shifted(zeros(kept.taught), shift.energies, [0])
    if anchors:
        taught, times = mixture(taught, anchors, plan.replay_share, config.epochs)
        config = stretched(config, times)
    ordered = sorted(shift.energies)
    named = dict(zip(symbols(ordered), (shift.energies[z] for z in ordered), strict=True))
    described = plan.as_dict() | {"replay_source": kept.source}
    result = train(
        potential,
        taught,
        judged,
        config,
        output_dir,
        assemble=assemble,
        before=evaluate_errors(base, valid_records),
        notes={
            "base": base.fingerprint(),
            "finetune": described,
            "reference_shift": {"energies_eV": named, "note": shift.note},
        },
        progress=progress,
        overwrite=overwrite,
    )
    if not certify or not _writes():
        return result
    sets = train_records, valid_records
    certificate = certified(
        RunFolder(output_dir), base, result.potential, result.after, *sets, kept, shift.energies, described
    )
    return replace(result, certificate=certificate)


def _writes() -> bool:
    """Whether this is the process of a run that writes files."""
    parallel = torch.distributed
    return not (parallel.is_available() and parallel.is_initialized()) or parallel.get_rank() == 0


def _continued(
    base: Potential, plan: FinetuneConfig, seed: int
) -> tuple[Potential, Callable[[Potential], Potential] | None]:
    """A copy of the base with the weights free that the plan frees, and what makes a plain model of it."""
    if plan.method == "lora":
        return Adapted(base, rank=plan.rank, alpha=plan.alpha, seed=seed), merged
    potential = copy.deepcopy(base).requires_grad_(plan.method == "full")
    free_heads(potential)
    return potential, None


def _correction(
    base: Potential,
    plan: FinetuneConfig,
    model: MACEConfig | None,
    lacking: Sequence[Record],
    kept: Replay,
    shift: Mapping[int, float],
    seed: int,
) -> tuple[Potential, Callable[[Potential], Potential]]:
    """A small model of what the base lacks, and what adds it to the base."""
    if plan.method != "full":
        raise OptionError(
            "E-FINETUNE-METHOD",
            f"method '{plan.method}' moves a model's own weights, and those of '{base.describe()['kind']}' stay",
            why="a model that is not ours gets a small correction, whose weights are all new",
            fix="use method 'full', or convert the model to a file of ours first",
        )
    anchored = [*kept.taught, *kept.judged] if kept.taught else []
    others = {int(z): 0.0 for record in anchored for z in record.system.numbers.unique()}
    config = model or MACEConfig.of_size("XS")
    return build_for(lacking, config, others | dict(shift), seed, zbl=False), lambda trained: Sum([base, trained])


def shift_references(potential: Potential, shifts: Mapping[int, float], levels: Sequence[int]) -> None:
    """Add to the reference energies (eV per element) of these levels of theory."""
    for term in potential.modules():
        if isinstance(term, ReferenceEnergies):
            for number, shift in shifts.items():
                term.get_buffer("table")[levels, number] += shift
