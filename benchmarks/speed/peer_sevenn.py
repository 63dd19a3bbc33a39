"""SevenNet-0 with the weights its package ships, float32. Run by `run.py` in an environment of its own."""

import warnings
from collections.abc import Callable
from typing import Any

warnings.filterwarnings("ignore")

import ase  # noqa: E402
import sevenn._keys as keys  # noqa: E402
import sevenn.util  # noqa: E402
import torch  # noqa: E402
from sevenn.atom_graph_data import AtomGraphData  # noqa: E402
from sevenn.calculator import SevenNetCalculator  # noqa: E402
from sevenn.train.dataload import unlabeled_atoms_to_graph  # noqa: E402
from torch_geometric.loader import DataLoader  # noqa: E402
from worker import serve, structure  # noqa: E402

NAME = "7net-0"


class SevenNet:
    """SevenNet-0: five layers, degree 2, cutoff 5 Å."""

    packages = ("sevenn", "e3nn", "torch-geometric", "torch", "ase", "numpy")

    def __init__(self, settings: dict[str, Any]) -> None:
        torch.set_num_threads(settings["threads"])
        self.ase = SevenNetCalculator(NAME, device="cpu")

    def calculator(self, **_: Any) -> SevenNetCalculator:
        return self.ase

    def evaluation(self, atoms: ase.Atoms) -> Callable[[], tuple[float, Any]]:
        graph = self._graph(atoms)

        def run() -> tuple[float, Any]:
            found = self.ase.model(graph.clone())
            stress = found[keys.PRED_STRESS].detach()
            assert stress.isfinite().all()
            return found[keys.PRED_TOTAL_ENERGY].item(), found[keys.PRED_FORCE].detach()

        return run

    def training(self, frames: list[dict[str, Any]]) -> Callable[[], None]:
        model = sevenn.util.load_checkpoint(NAME).build_model()
        model.set_is_batch_data(True)
        model.train()
        graphs = []
        for frame in frames:
            graph = self._graph(structure(frame))
            graph["true_energy"] = torch.tensor([frame["energy"]], dtype=torch.float32)
            graph["true_forces"] = torch.tensor(frame["forces"], dtype=torch.float32)
            graph["true_stress"] = torch.tensor([frame["stress"]], dtype=torch.float32)
            graphs.append(graph)
        batch = next(iter(DataLoader(graphs, batch_size=len(graphs), shuffle=False)))
        atoms = torch.bincount(batch.batch)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

        def step() -> None:
            found = model(batch.clone())
            energies = found[keys.PRED_TOTAL_ENERGY].reshape(-1)
            loss = ((energies - batch["true_energy"]) / atoms).square().mean()
            loss = loss + 100 * (found[keys.PRED_FORCE] - batch["true_forces"]).square().mean()
            loss = loss + 10 * (found[keys.PRED_STRESS].reshape(-1, 6) - batch["true_stress"]).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

        return step

    def _graph(self, atoms: ase.Atoms) -> AtomGraphData:
        return AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, self.ase.cutoff, with_shift=False))


if __name__ == "__main__":
    serve(SevenNet)
