"""Writes mace_*.npz: small models of mace-torch, what they hold, and what they give. Run by `make parity`.

It runs under an interpreter that has mace-torch: `python tests/golden/make_mace_golden.py CHECKPOINTS`, a folder for
the .model files themselves, which the repository does not keep. The models have the blocks of the published ones, few
channels, and random weights; sums over neighbours are divided by little, so that every order of the products counts.
Each file is what `extract.py` writes, with structures and results beside it:

    reference.STRUCTURE.numbers, positions (Å), cell (Å, rows; zero for a molecule)
    reference.STRUCTURE.HEAD.energy (eV), energies (eV per atom), forces (eV/Å), stress (eV/Å³, crystals only)
"""

import importlib.util
import sys
import warnings
from pathlib import Path

import mace  # noqa: F401 — first: it lets e3nn load its constants
import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from mace import data, modules
from mace.tools import AtomicNumberTable, torch_geometric

HERE = Path(__file__).parent
EXTRACT = HERE.parents[1] / "src" / "groundstate" / "zoo" / "mace" / "extract.py"
ELEMENTS = [1, 8, 14]
SHAPES = {
    "small": {"hidden": "8x0e"},
    "medium": {"hidden": "8x0e+8x1o", "order": [14, 1, 8]},
    "large": {"hidden": "4x0e+4x1o+4x2e"},
    "agnesi": {"hidden": "8x0e+8x1o", "max_ell": 2, "distance_transform": "Agnesi", "num_polynomial_cutoff": 6},
    "soft": {"hidden": "8x0e", "max_ell": 2, "distance_transform": "Soft", "apply_cutoff": False},
    "heads": {
        "hidden": "8x0e+8x1o",
        "max_ell": 2,
        "heads": ["first", "second"],
        "scale": [0.7, 1.3],
        "shift": [0.1, -0.2],
    },
    "repulsion": {"hidden": "8x0e+8x1o", "max_ell": 2, "correlation": 2, "pair_repulsion": True, "scale": 0.6},
    "unscaled": {"hidden": "8x0e", "max_ell": 2, "layers": 3, "correlation": 2, "kind": "MACE"},
}


def build(
    hidden, max_ell=3, correlation=3, layers=2, heads=("Default",), scale=0.8, shift=0.0, order=None,
    num_polynomial_cutoff=5, kind="ScaleShiftMACE", **more,
):  # fmt: skip
    """A model with random weights, float64."""
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    numbers = order or ELEMENTS
    if kind == "ScaleShiftMACE":
        more |= {"atomic_inter_scale": scale, "atomic_inter_shift": shift}
    model = getattr(modules, kind)(
        r_max=4.5,
        num_bessel=8,
        num_polynomial_cutoff=num_polynomial_cutoff,
        max_ell=max_ell,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=layers,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(hidden),
        MLP_irreps=o3.Irreps("5x0e"),
        atomic_energies=np.array([[-0.1 * z - h for z in numbers] for h in range(len(heads))]),
        avg_num_neighbors=3.0,
        atomic_numbers=numbers,
        correlation=correlation,
        gate=torch.nn.functional.silu,
        radial_MLP=[12, 12, 12],
        heads=list(heads),
        **more,
    )
    for parameter in model.parameters():  # half the digits, so that the files are small
        parameter.data = parameter.data.float().double()
    return model


def structures():
    """A skewed crystal smaller than the cutoff, and a molecule with two atoms close enough to repel."""
    rng = np.random.default_rng(1)
    cell = np.array([[4.1, 0.2, 0.0], [0.5, 3.9, 0.3], [-0.4, 0.1, 4.4]])
    fractional = np.array([[0, 0, 0], [0.5, 0.45, 0.1], [0.1, 0.5, 0.55], [0.5, 0.05, 0.5]])
    crystal = Atoms([14, 8, 1, 8], fractional @ cell + 0.1 * rng.standard_normal((4, 3)), cell=cell, pbc=True)
    places = [[0.0, 0.0, 0.0], [0.8, 0.1, -0.2], [0.1, 1.5, 0.3], [2.2, 1.4, 0.9], [-1.2, 0.2, 3.1], [1.0, -1.9, 1.1]]
    return {"crystal": crystal, "molecule": Atoms([1, 8, 14, 1, 8, 14], places)}


def results(model, atoms, head):
    """What the model gives, by the names of the files."""
    table = AtomicNumberTable(model.atomic_numbers.tolist())
    configuration = data.config_from_atoms(atoms, head_name=head)
    frame = data.AtomicData.from_config(configuration, z_table=table, cutoff=float(model.r_max), heads=model.heads)
    batch = next(iter(torch_geometric.dataloader.DataLoader([frame], batch_size=1)))
    found = model(batch.to_dict(), compute_stress=True)
    names = {"energy": "energy", "energies": "node_energy", "forces": "forces", "stress": "stress"}
    return {
        name: found[theirs].detach().numpy().reshape((3, 3) if name == "stress" else found[theirs].shape)
        for name, theirs in names.items()
        if name != "stress" or atoms.pbc.all()
    }


def main(checkpoints):
    """Every file."""
    spec = importlib.util.spec_from_file_location("extract", EXTRACT)
    extract = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extract)
    torch.set_default_dtype(torch.float64)
    for seed, (name, shape) in enumerate(SHAPES.items()):
        torch.manual_seed(seed)
        model = build(**shape)
        arrays = {}
        for label, atoms in structures().items():
            here = f"reference.{label}"
            cell = np.array(atoms.cell)
            arrays |= {f"{here}.numbers": atoms.numbers, f"{here}.positions": atoms.positions, f"{here}.cell": cell}
            for i, head in enumerate(model.heads):
                arrays |= {f"{here}.{i}.{key}": value for key, value in results(model, atoms, head).items()}
        checkpoint, target = checkpoints / f"mace_{name}.model", HERE / f"mace_{name}.npz"
        torch.save(model, checkpoint)
        if code := extract.main(str(checkpoint), str(target)):
            sys.exit(code)
        with np.load(target) as extracted:
            arrays |= {key: extracted[key] for key in extracted.files}
        np.savez_compressed(target, **arrays)
        sys.stdout.write(f"{target}: {target.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    main(folder)
