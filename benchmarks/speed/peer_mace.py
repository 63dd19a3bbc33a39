"""mace-torch with random weights in the published MACE-MP-0 shapes. Run by `run.py` in an environment of its own.

    python peer_mace.py --save FILE SIZE DTYPE      write the model it is timed with, as mace-torch does

Settings: size small, medium or large; dtype; threads.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # e3nn keeps its constants in a pickle
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import ase  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from e3nn import o3  # noqa: E402
from mace import data, modules  # noqa: E402
from mace.calculators import MACECalculator  # noqa: E402
from mace.tools import torch_geometric  # noqa: E402
from mace.tools.utils import AtomicNumberTable  # noqa: E402
from worker import serve, structure  # noqa: E402

HIDDEN = {"small": "128x0e", "medium": "128x0e+128x1o", "large": "128x0e+128x1o+128x2e"}
CUTOFF = 6.0
ELEMENTS = list(range(1, 90))


def random_model(size: str, dtype: str) -> torch.nn.Module:
    """The hyper-parameters of MACE-MP-0 (Batatia et al., arXiv:2401.00096), weights drawn from seed 0."""
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, dtype))
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps(HIDDEN[size]),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros((1, len(ELEMENTS))),
        avg_num_neighbors=60.0,
        atomic_numbers=ELEMENTS,
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        radial_type="bessel",
        atomic_inter_scale=0.05,
        atomic_inter_shift=0.0,
        heads=["Default"],
    )


class Mace:
    """One size of mace-torch."""

    packages = ("mace-torch", "e3nn", "torch", "ase", "numpy")

    def __init__(self, settings: dict[str, Any]) -> None:
        torch.set_num_threads(settings["threads"])
        self.settings = settings
        model = random_model(settings["shape"], settings["dtype"])
        self.ase = MACECalculator(models=model, device="cpu", default_dtype=settings["dtype"])

    def calculator(self, **_: Any) -> MACECalculator:
        return self.ase

    def evaluation(self, atoms: ase.Atoms) -> Callable[[], tuple[float, Any]]:
        batch, model = self.ase._atoms_to_batch(atoms), self.ase.models[0]

        def run() -> tuple[float, Any]:
            found = model(self.ase._clone_batch(batch).to_dict(), compute_stress=True)
            return found["energy"].item(), found["forces"].detach()

        return run

    def training(self, frames: list[dict[str, Any]]) -> Callable[[], None]:
        model = random_model(self.settings["shape"], self.settings["dtype"]).train()
        keys = data.KeySpecification(
            info_keys={"energy": "true_energy", "stress": "true_stress"}, arrays_keys={"forces": "true_forces"}
        )
        graphs = []
        for frame in frames:
            atoms = structure(frame)
            atoms.info.update(true_energy=frame["energy"], true_stress=np.array(frame["stress"]))
            atoms.arrays["true_forces"] = np.array(frame["forces"])
            configuration = data.config_from_atoms(atoms, key_specification=keys)
            table = AtomicNumberTable(ELEMENTS)
            graphs.append(data.AtomicData.from_config(configuration, z_table=table, cutoff=CUTOFF))
        loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs), shuffle=False)
        batch = next(iter(loader))
        loss_of = modules.WeightedEnergyForcesStressLoss(1.0, 100.0, 10.0)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

        def step() -> None:
            found = model(batch.to_dict(), training=True, compute_force=True, compute_stress=True)
            loss = loss_of(pred=found, ref=batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimiser.step()

        return step


if __name__ == "__main__":
    if sys.argv[1:2] == ["--save"]:
        torch.save(random_model(*sys.argv[3:5]), sys.argv[2])
    else:
        serve(Mace)
