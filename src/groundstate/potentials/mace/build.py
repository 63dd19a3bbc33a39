"""From a configuration and the elements of the data to a potential, and back from its description."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from groundstate.atoms import LevelOfTheory, ModelError, OptionError, System
from groundstate.atoms.elements import element, symbols
from groundstate.potentials.mace.config import MACEConfig
from groundstate.potentials.mace.heads import DipoleHead, EnergyHead, ScalarHead
from groundstate.potentials.mace.merging import MergedFor
from groundstate.potentials.mace.radial import FADE_FROM
from groundstate.potentials.mace.trunk import MACETrunk, Made
from groundstate.potentials.model import Head, Model, Term
from groundstate.potentials.potential import Potential, Sum
from groundstate.potentials.terms import MACEZBL, ZBL, ReferenceEnergies, ShortRange

REVISION = 1
"""Of the formulas: raised when the same weights would give other numbers; then the model has another identity."""
_DESCRIPTION = frozenset({"kind", "revision", "config", "elements", "n_theories", "zbl", "theories"})


def build(
    config: MACEConfig,
    *,
    elements: Sequence[int],
    reference_energies: Sequence[Mapping[int, float]],
    scale: float | Sequence[float] | None = None,
    shift: float | Sequence[float] = 0.0,
    theories: Sequence[LevelOfTheory] = (),
    zbl: bool | Literal["mace"] = True,
    seed: int = 0,
    merged: MergedFor | None = None,
) -> Model:
    """An untrained MACE: energy = scale · network + reference energies + screened nuclear repulsion.

    elements            atomic numbers it will know
    reference_energies  eV per element, one mapping for each level of theory; together they name every element
    scale, shift        eV, one number for all levels of theory or one each; scale from the configuration when not given
    theories            what those levels are, in order; may stay unknown
    zbl                 whether nuclei repel each other by `ZBL` at contact; "mace": by `MACEZBL`, for imported models
    seed                of the weights; the global random state is neither read nor changed
    merged              the only structures it will answer for, see `merged_at`
    """
    known = tuple(sorted({element(int(number)).number for number in elements}))
    n_theories = len(reference_energies)
    _check(known, reference_energies, theories)
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, config.dtype)
    trunk = MACETrunk(config, known, n_theories, generator=generator, merged=merged)
    made = Made(dtype=dtype, generator=generator)
    heads: dict[str, Head] = {"energies": EnergyHead(config, n_theories, **made)}
    for name in config.heads:
        heads[name] = DipoleHead(config, known, **made) if name == "dipole" else ScalarHead(name, config, known, **made)
    scales = _per_theory("scale", config.scale if scale is None else scale, n_theories)
    terms: dict[str, Term] = {
        "short_range": ShortRange(scales, _per_theory("shift", shift, n_theories)),
        "references": ReferenceEnergies(reference_energies),
    }
    if zbl == "mace":
        terms["zbl"] = MACEZBL(known, config.cutoff_power, config.cutoff, scales)
    elif zbl:
        # Where neighbours fade out nothing else is left to push.
        terms["zbl"] = ZBL(known, shortest=FADE_FROM if config.repulsion_from == "taught" else 1.0)
    description = {
        "kind": "mace",
        "revision": REVISION,
        "config": config.as_dict(),
        "elements": list(known),
        "n_theories": n_theories,
        "zbl": zbl,
    }
    if merged is not None:
        description["merged"] = merged.as_dict()
    return Model(trunk, heads, terms, description=description, theories=tuple(theories))


def rebuild(description: dict[str, Any], *, seed: int = 0) -> Model:
    """The potential of a description (`Model.describe`), its weights and energies still to be loaded."""
    strange = sorted((description.keys() - {"merged"}) ^ _DESCRIPTION)
    if strange or description["kind"] != "mace":
        raise ModelError(
            "E-MODEL-DESCRIPTION",
            f"this does not describe a MACE: {', '.join(strange) or description['kind']}",
            fix="load the model file with the version of groundstate that wrote it, or a later one",
        )
    if description["revision"] != REVISION:
        raise ModelError(
            "E-MODEL-REVISION",
            f"this MACE is of revision {description['revision']}, and revision {REVISION} is computed here",
            why="the same weights mean another function in each",
            fix="load the model file with the version of groundstate that wrote it",
        )
    elements, n_theories = description["elements"], description["n_theories"]
    return build(
        MACEConfig.from_dict(description["config"]),
        elements=elements,
        reference_energies=[dict.fromkeys(elements, 0.0)] * n_theories,
        theories=[LevelOfTheory.from_dict(theory) for theory in description["theories"]],
        zbl=description["zbl"],
        seed=seed,
        merged=MergedFor(**description["merged"]) if "merged" in description else None,
    )


def grown(model: Model, heads: Sequence[str], *, seed: int = 0) -> Model:
    """A copy of a MACE with further heads, untrained; all it gave before it gives as before.

    heads  names of quantities, as in `MACEConfig.heads`; those it has already are left as they are
    """
    description = model.describe()
    config = MACEConfig.from_dict(description["config"])
    new = [name for name in heads if name not in config.heads]
    wider = replace(config, heads=(*config.heads, *new))
    copy = rebuild({**description, "config": wider.as_dict()}, seed=seed)
    copy.load_state_dict({**copy.state_dict(), **model.state_dict()})
    return copy


def merged_at(potential: Potential, system: System) -> Potential:
    """The plain potential that one with linear experts is at the composition, charge, spin and level of theory of a
    structure, or of several that agree in all of these: as fast as a MACE without experts, the same energies, forces
    and stress to rounding. It has this one level of theory, and refuses any other structure.

    Of a sum or a committee, the parts with experts are merged. Raises OptionError: E-EXPERTS-NONE where there are no
    experts, E-EXPERTS-SEVERAL where structures differ. Checked: tests/potentials/test_mace_experts.py
    """
    if isinstance(potential, Sum):
        with_experts = [_has_experts(part) for part in potential.potentials]
        if any(with_experts):
            parts = zip(potential.potentials, with_experts, strict=True)
            return type(potential)([merged_at(part, system) if has else part for part, has in parts])
    if not isinstance(potential, Model) or not _has_experts(potential):
        raise OptionError(
            "E-EXPERTS-NONE",
            f"the model {potential.fingerprint()} has no linear experts to merge",
            fix="use it as it is: it costs no more than a merged one",
        )
    trunk = potential.trunk
    assert isinstance(trunk, MACETrunk)
    assert trunk.gate is not None
    rows = trunk.gate.globals_of(system, trunk.classes(system)).rows
    if len(rows) > 1:
        raise OptionError(
            "E-EXPERTS-SEVERAL",
            f"the structures have {len(rows)} compositions, charges, spins or levels of theory",
            why="experts are mixed for one of each",
            fix="merge for structures that agree in all of these, or use the model as it is",
        )
    theory = 0 if system.theory is None else int(system.theory[0])
    changes = {
        "config": replace(trunk.config, experts=0).as_dict(),
        "n_theories": 1,
        "theories": [level.as_dict() for level in potential.theories[theory : theory + 1]],
        "merged": MergedFor.first_of(potential.fingerprint(), system).as_dict(),
    }
    plain = rebuild({**potential.describe(), **changes}).to(trunk.embedding.device)
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    known = {name: value for name, value in potential.state_dict().items() if not name.startswith("trunk.")}
    known |= {f"trunk.{name}": value for name, value in trunk.merged(rows[0]).state_dict().items()}
    state = {name: _of_level(value.detach(), shapes[name], theory).clone() for name, value in known.items()}
    plain.load_state_dict(state, assign=True)  # assigned: a model moved to float64 stays there
    return plain.eval().requires_grad_(False)


def _of_level(values: Tensor, shape: torch.Size, theory: int) -> Tensor:
    """What belongs to one level of theory, where levels lie one after the other along the axis that is too long."""
    for axis, length in enumerate(shape):
        if values.shape[axis] != length:
            values = values.narrow(axis, theory * length, length)
    return values


def _has_experts(potential: Potential) -> bool:
    trunk = potential.trunk if isinstance(potential, Model) else None
    return isinstance(trunk, MACETrunk) and trunk.gate is not None


def _check(
    elements: Sequence[int], reference_energies: Sequence[Mapping[int, float]], theories: Sequence[LevelOfTheory]
) -> None:
    if not elements:
        raise OptionError("E-MACE-ELEMENTS", "a MACE needs the elements it is for", fix="name at least one")
    if theories and len(theories) != len(reference_energies):
        raise OptionError(
            "E-MACE-THEORIES",
            f"{len(theories)} levels of theory are named and {len(reference_energies)} have reference energies",
            why="each level has its own zero of energy",
            fix="give one mapping of reference energies for each level, in the same order",
        )
    given = {number for energies in reference_energies for number in energies}
    if missing := sorted(set(elements) - given):
        raise OptionError(
            "E-REFERENCE-MISSING",
            f"no reference energy for {', '.join(symbols(missing))}",
            why="their energies would be off by the energy of an atom",
            fix="fit reference energies, or compute the isolated atoms",
        )
    if strange := sorted(given - set(elements)):
        raise OptionError(
            "E-REFERENCE-ELEMENT",
            f"a reference energy is given for {', '.join(symbols(strange))}, which the model will not know",
            fix="add the element, or leave its energy out",
        )


def _per_theory(name: str, values: float | Sequence[float], n_theories: int) -> list[float]:
    listed = list(values) if isinstance(values, Sequence) else [values] * n_theories
    if len(listed) != n_theories:
        raise OptionError(
            "E-MACE-THEORIES",
            f"{name} has {len(listed)} numbers for {n_theories} levels of theory",
            fix="give one each",
        )
    return [float(value) for value in listed]
