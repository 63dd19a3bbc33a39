"""A checkpoint of mace-torch becomes a model file of our own."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundstate.atoms import OptionError, nearest
from groundstate.data.writers import refuse_existing
from groundstate.potentials import Model, checkpoint
from groundstate.potentials.mace import EnergyHead, MACETrunk, build
from groundstate.potentials.mace.config import DType
from groundstate.zoo.mace.architecture import architecture
from groundstate.zoo.mace.extraction import Extraction, run_extraction
from groundstate.zoo.mace.weights import fill

_PRECISIONS: dict[str, DType] = {"float32": "float32", "float64": "float64"}


@dataclass(frozen=True, eq=False)
class Converted:
    """The model, and where it came from: what its file keeps as notes."""

    model: Model
    notes: dict[str, Any]


def convert(
    file: Path,
    output: Path,
    *,
    trust_pickle: bool,
    python: str | None = None,
    precision: str | None = None,
    radial_knots: int | None = None,
    timeout: float = 600.0,
    overwrite: bool = False,
) -> Converted:
    """Read `file` under the interpreter `python`, which has mace-torch, and write the same model to `output`.

    trust_pickle   that its code may run there, in another process with the rights of this one; nothing is done without
    precision      the network computes in, float32 or float64; `None` is that of its weights
    radial_knots   of the tables that its kernels read, see `MACEConfig`; `None`: as many as its precision resolves;
                   0: no tables, the radial network itself, in plain torch only
    timeout        s, for reading the checkpoint
    Raises ModelError E-MACE-UNSUPPORTED with the name of a part that is not translated.
    """
    if not trust_pickle:
        raise OptionError(
            "E-PICKLE-TRUST",
            "a checkpoint of mace-torch is a pickle, and reading it runs whatever code it carries",
            why="that would happen with your rights, if in another process",
            fix="say that you trust where it came from (--trust-pickle)",
            file=str(file),
        )
    if output.suffix != ".safetensors":
        raise OptionError("E-MODEL-SUFFIX", "a model file ends in .safetensors", fix="name it so", file=str(output))
    if precision is not None and precision not in _PRECISIONS:
        raise OptionError(
            "E-OPTION-UNKNOWN", f"precision='{precision}' does not exist", fix=nearest(precision, _PRECISIONS)
        )
    refuse_existing(output, overwrite=overwrite)
    found = run_extraction(file, python, timeout)
    converted = translate(found, None if precision is None else _PRECISIONS[precision], radial_knots)
    converted.notes["imported"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    converted.notes["imported"]["file"] = file.name
    checkpoint.save(converted.model, output, notes=converted.notes)
    return converted


def translate(found: Extraction, precision: DType | None = None, radial_knots: int | None = None) -> Converted:
    """Our model of what was extracted. Checked: tests/zoo/test_mace_import.py"""
    made = architecture(found, precision, radial_knots)
    n_heads, order = len(made.heads), list(made.order)
    energies = found.floats("atomic_energies_fn.atomic_energies").reshape(n_heads, -1)[:, order]
    scale, shift = _per_head(found, "scale", 1.0, n_heads), _per_head(found, "shift", 0.0, n_heads)
    model = build(
        made.config,
        elements=made.elements,
        reference_energies=[dict(zip(made.elements, row.tolist(), strict=True)) for row in energies],
        scale=scale,
        shift=shift,
        zbl="mace" if made.repels else False,
    )
    trunk, head = model.trunk, model.heads["energies"]
    assert isinstance(trunk, MACETrunk)
    assert isinstance(head, EnergyHead)
    residual = fill(trunk, head, made, found)
    notes = {
        "imported": {
            "from": "mace-torch",
            "versions": dict(found.versions),
            "heads": list(made.heads),
            "largest_coupling_residual": residual,
        }
    }
    return Converted(model.eval().requires_grad_(False), notes)


def _per_head(found: Extraction, name: str, missing: float, n_heads: int) -> list[float]:
    """Scale or shift of each head; models without them have neither."""
    if f"scale_shift.{name}" not in found.arrays:
        return [missing] * n_heads
    values = found.floats(f"scale_shift.{name}").reshape(-1).tolist()
    return values * n_heads if len(values) == 1 else values
