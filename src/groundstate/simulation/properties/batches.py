"""Many structures through a potential, packed by size; each keeps its own refusal, and what is finished stays finished.

Checked: tests/simulation/properties/test_property_batches.py
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from groundstate.atoms import GroundstateError, System
from groundstate.potentials import Potential, evaluate, refuse_not_finite
from groundstate.simulation.evaluation import alike
from groundstate.simulation.outputs import RunFolder, content_hash
from groundstate.simulation.progress import Callback, Progress, silent

_PER_SYSTEM = ("energy", "strain_gradient")
Found = dict[str, Tensor]


def evaluate_all(
    potential: Potential,
    structures: Sequence[System],
    want: Sequence[str] = ("energy", "forces"),
    *,
    max_atoms: int = 1000,
    run: RunFolder | None = None,
    progress: Callback = silent,
) -> list[Found | GroundstateError]:
    """The wanted quantities of every structure, or its refusal, in order.

    Equal structures are computed once. With `run`, each result is on disk when it is finished, under the hash of the
    structure's content, and is not computed again. Energy eV, forces eV/Å `[atom, 3]`, strain_gradient eV `[3, 3]`.
    """
    keys = [content_hash(single, torch.zeros(single.n_atoms, dtype=torch.bool)) for single in structures]
    found: dict[str, Found | GroundstateError] = _kept(run, want)
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    waiting = sorted(i for key, i in first.items() if key not in found)
    done, total = len(first) - len(waiting), len(first)
    progress(Progress(done, total, "structures"))
    for members in alike(waiting, structures, max_atoms):
        for i, result in zip(members, _together(potential, [structures[i] for i in members], want), strict=True):
            found[keys[i]] = result
            if run is not None and not isinstance(result, GroundstateError):
                run.commit({"key": keys[i], **{name: value.tolist() for name, value in result.items()}})
        done += len(members)
        progress(Progress(done, total, "structures", f"{structures[members[-1]].n_atoms} atoms each"))
    return [found[key] for key in keys]


def _together(
    potential: Potential, structures: Sequence[System], want: Sequence[str]
) -> list[Found | GroundstateError]:
    """One evaluation; a batch that is refused is tried one by one."""
    batch = System.batch(structures)
    try:
        values = evaluate(potential, batch, want)
        refuse_not_finite(values, batch)
    except GroundstateError as error:
        if len(structures) == 1:
            return [error]
        return [_together(potential, [single], want)[0] for single in structures]
    ptr = batch.system_ptr.tolist()

    def of(s: int) -> Found:
        return {name: v[s] if name in _PER_SYSTEM else v[ptr[s] : ptr[s + 1]] for name, v in values.items()}

    return [of(s) for s in range(len(structures))]


def _kept(run: RunFolder | None, want: Sequence[str]) -> dict[str, Found | GroundstateError]:
    lines: Sequence[Mapping[str, Any]] = [] if run is None else run.lines
    return {
        line["key"]: {name: torch.tensor(line[name], dtype=torch.float64) for name in want}
        for line in lines
        if all(name in line for name in want)
    }
