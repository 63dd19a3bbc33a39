"""NequIP with random weights in its preset M, cutoff 6 Å, eager. Run by `run.py` in an environment of its own."""

import warnings
from collections.abc import Callable
from typing import Any

warnings.filterwarnings("ignore")

import ase  # noqa: E402
import torch  # noqa: E402
from ase.data import chemical_symbols  # noqa: E402
from nequip.data import AtomicDataDict  # noqa: E402
from nequip.integrations.ase import NequIPCalculator  # noqa: E402
from nequip.integrations.utils import basic_transforms  # noqa: E402
from nequip.model.nequip_models import PresetNequIPGNNModel  # noqa: E402
from nequip.utils.global_state import set_global_state  # noqa: E402
from worker import serve, structure  # noqa: E402

ELEMENTS = chemical_symbols[1:90]
CUTOFF = 6.0


class NequIP:
    """One preset of NequIP."""

    packages = ("nequip", "e3nn", "torch", "ase", "numpy")

    def __init__(self, settings: dict[str, Any]) -> None:
        set_global_state()
        torch.set_num_threads(settings["threads"])
        self.settings = settings
        self.model = self._random_model().eval().requires_grad_(False)
        transforms = basic_transforms(self.model.metadata, CUTOFF, ELEMENTS, {name: name for name in ELEMENTS})
        self.ase = NequIPCalculator(model=self.model, device="cpu", transforms=transforms)

    def calculator(self, **_: Any) -> NequIPCalculator:
        return self.ase

    def evaluation(self, atoms: ase.Atoms) -> Callable[[], tuple[float, Any]]:
        graph = self.ase.atoms_to_data(atoms)

        def run() -> tuple[float, Any]:
            found = self.model(graph.copy())
            assert found[AtomicDataDict.STRESS_KEY].isfinite().all()
            return found[AtomicDataDict.TOTAL_ENERGY_KEY].item(), found[AtomicDataDict.FORCE_KEY].detach()

        return run

    def training(self, frames: list[dict[str, Any]]) -> Callable[[], None]:
        model = self._random_model().train()
        batch = AtomicDataDict.batched_from_list([self.ase.atoms_to_data(structure(frame)) for frame in frames])
        energies = torch.tensor([[frame["energy"]] for frame in frames], dtype=torch.float64)
        forces = torch.cat([torch.tensor(frame["forces"], dtype=torch.float64) for frame in frames])
        voigt = torch.tensor([frame["stress"] for frame in frames], dtype=torch.float64)
        stress = voigt[:, [0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(-1, 3, 3)
        atoms = torch.tensor([[len(frame["numbers"])] for frame in frames])
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

        def step() -> None:
            found = model(batch.copy())
            loss = ((found[AtomicDataDict.TOTAL_ENERGY_KEY] - energies) / atoms).square().mean()
            loss = loss + 100 * (found[AtomicDataDict.FORCE_KEY] - forces).square().mean()
            loss = loss + 10 * (found[AtomicDataDict.STRESS_KEY] - stress).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

        return step

    def _random_model(self) -> torch.nn.Module:
        return PresetNequIPGNNModel(
            preset="M",
            seed=0,
            model_dtype=self.settings["dtype"],
            type_names=ELEMENTS,
            r_max=CUTOFF,
            avg_num_neighbors=60.0,
            per_type_energy_scales=0.05,
            per_type_energy_shifts=0.0,
        )


if __name__ == "__main__":
    serve(NequIP)
