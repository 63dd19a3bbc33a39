"""Labels against what a potential says of the same frames: where no steps between frames tell, or to be sure.

A potential need not be right, only better than a wrong sign, unit or order of components.
Checked: tests/data/lint/test_against_model.py
"""

from collections.abc import Mapping, Sequence

import numpy as np

from groundstate.atoms.units import GIGAPASCAL, KILOBAR
from groundstate.data.lint.finding import Checked, Finding, not_checked
from groundstate.data.lint.frames import Floats, Frames
from groundstate.data.lint.slopes import FORCE_FACTORS
from groundstate.data.lint.stress import OFF_DIAGONAL, ORDERS

Predictions = Sequence[Mapping[str, Floats] | None]
"""forces eV/Å and stress eV/Å³ of each frame, as far as the model gives them; None where it refused."""
_ALIKE = 0.5
"""Correlation from which a model sees the same surface."""
_SCALE = (0.5, 2.0)
"""Ratios of size that a model which is soft or hard may show."""
_LARGE = 0.7
"""Quantile of the product of both from which sizes are compared; below it noise is."""
_FEWEST = 20
"""Components."""
_TURNED = -0.7
"""Correlation within a frame below which its forces have the opposite sign."""
_UNITS = {factor: name for factor, name in FORCE_FACTORS.items() if name.startswith("forces in")}
_STRESS_UNITS = {GIGAPASCAL: "stress in GPa", KILOBAR: "stress in kbar"}


def check_against_model(frames: Frames, predictions: Predictions, model: str) -> tuple[Checked, Checked]:
    """Forces and stresses of the frames against those of a model, its name in the sentences."""
    return _forces(frames, predictions, model), _stress(frames, predictions, model)


def _forces(frames: Frames, predictions: Predictions, model: str) -> Checked:
    check = f"forces against {model}"
    both = {
        i: (forces, said["forces"])
        for i, (forces, said) in enumerate(zip(frames.forces, predictions, strict=True))
        if forces is not None and said is not None and "forces" in said
    }
    if sum(label.size for label, _ in both.values()) < _FEWEST:
        return not_checked(check, "too few forces that both give")
    labels = np.concatenate([label.ravel() for label, _ in both.values()])
    said = np.concatenate([prediction.ravel() for _, prediction in both.values()])
    alike, ratio = _compare(labels, said)
    sentence = f"{len(both)} frames: correlation {alike:.2f}, labels {ratio:.3g} times the model's"
    if abs(alike) < _ALIKE:
        return not_checked(check, f"the model sees another surface ({sentence})")
    if alike < 0 or not _SCALE[0] < ratio < _SCALE[1]:
        return Checked(check, sentence, findings=(_scaled("L-FORCE", "forces", np.sign(alike) / ratio, _UNITS, model),))
    turned = [i for i, (a, b) in both.items() if a.size >= _FEWEST and _compare(a.ravel(), b.ravel())[0] < _TURNED]
    findings = []
    if turned:
        findings.append(
            Finding(
                "L-FORCE-SIGN",
                "error",
                f"forces of {len(turned)} frames are opposite to those of {model}, of the others not",
                tuple(turned),
                why="a model would be pulled both ways",
                fix="negate them, or leave these frames out",
            )
        )
    return Checked(check, sentence, findings=tuple(findings))


def _stress(frames: Frames, predictions: Predictions, model: str) -> Checked:
    check = f"stress against {model}"
    both = {
        i: said["stress"]
        for i, said in enumerate(predictions)
        if said is not None and "stress" in said and np.isfinite(frames.stress[i]).all()
    }
    if 6 * len(both) < _FEWEST:
        return not_checked(check, "too few stresses that both give")
    labels, said = frames.stress[list(both)], np.stack(list(both.values()))
    alike, ratio = _compare(_components(labels), _components(said))
    sentence = f"{len(both)} frames: correlation {alike:.2f}, labels {ratio:.3g} times the model's"
    volume = frames.volume[list(both)][:, None, None]
    as_virial, virial_ratio = _compare(_components(labels / volume), _components(said))
    factor = float(np.sign(alike) / ratio)
    if abs(as_virial) > max(_ALIKE, abs(alike) - 0.02) and _SCALE[0] < virial_ratio < _SCALE[1]:
        named = {abs(factor): "a virial, −V·σ" if as_virial < 0 else "V·σ"}
        return Checked(check, sentence, findings=(_scaled("L-STRESS", "stresses", abs(factor), named, model),))
    if abs(alike) < _ALIKE:
        return not_checked(check, f"the model sees another surface ({sentence})")
    if alike < 0 or not _SCALE[0] < ratio < _SCALE[1]:
        return Checked(check, sentence, findings=(_scaled("L-STRESS", "stresses", factor, _STRESS_UNITS, model),))
    exchanged = _exchanged(labels, said, model)
    return Checked(check, sentence, findings=() if exchanged is None else (exchanged,))


def _components(stress: Floats) -> Floats:
    """Normal and shear components of [frame, 3, 3] in a row."""
    normal = stress[:, [0, 1, 2], [0, 1, 2]]
    return np.concatenate([normal.ravel(), stress[:, *OFF_DIAGONAL].ravel()])


def _exchanged(labels: Floats, said: Floats, model: str) -> Finding | None:
    """The order of shear components in which the labels are most like the model's."""
    shear, expected = labels[:, *OFF_DIAGONAL], said[:, *OFF_DIAGONAL]
    alike = {order: _compare(shear[:, list(order)].ravel(), expected.ravel())[0] for order in ORDERS}
    best = max(alike, key=alike.__getitem__)
    if alike[best] < _ALIKE or alike[best] - alike[0, 1, 2] < 0.3 or shear.size < _FEWEST:
        return None
    return Finding(
        "L-STRESS-ORDER",
        "error",
        f"shear components of stress stand in another order: {ORDERS[best]}. So they correlate with those of {model} at"
        f" {alike[best]:.2f}, as labelled at {alike[0, 1, 2]:.2f}",
        numbers={"correlation": alike[0, 1, 2], "correlation_reordered": alike[best]},
        why="shear would be learned in the wrong plane",
        fix="write nine components, or state stress_convention='kbar-vasp' or 'ase'",
    )


def _compare(labels: Floats, said: Floats) -> tuple[float, float]:
    """Correlation through 0, blind to single outliers, and the ratio of sizes where both are large."""
    sizes = [float(np.median(np.abs(values[values != 0]))) if values.any() else 0.0 for values in (labels, said)]
    if min(sizes) == 0:
        return 0.0, 1.0
    a, b = (np.clip(values / size, -5.0, 5.0) for values, size in zip((labels, said), sizes, strict=True))
    large = np.abs(labels * said) >= np.quantile(np.abs(labels * said), _LARGE)
    large &= labels * said != 0
    return float((a @ b) / np.sqrt((a @ a) * (b @ b))), float(np.median(np.abs(labels[large] / said[large])))


def _scaled(code: str, name: str, factor: float, units: Mapping[float, str], model: str) -> Finding:
    """model = factor × label: a sign where the sizes agree, else the unit that comes nearest."""
    flipped = factor < 0 and _SCALE[0] < -factor < _SCALE[1]
    unit = min(units, key=lambda known: abs(np.log(abs(factor) / known)))
    known = units[unit] if abs(np.log(abs(factor) / unit)) < np.log(_SCALE[1]) and not flipped else ""
    said = ", ".join(filter(None, ["the opposite sign" if factor < 0 else "", known]))
    return Finding(
        f"{code}-SIGN" if flipped else f"{code}-SCALE",
        "error",
        f"{name} of {model} are {factor:.4g} times the labels" + (f", as with {said}" if said else ""),
        numbers={"factor": float(factor)},
        why="no model that sees the same surface is that far from right labels",
        fix="negate the labels" if flipped else "convert the labels to eV, eV/Å and eV/Å³",
    )
