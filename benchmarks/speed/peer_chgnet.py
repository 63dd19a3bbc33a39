"""CHGNet with the weights its package ships, float32. Run by `run.py` in an environment of its own."""

import warnings
from collections.abc import Callable
from typing import Any

warnings.filterwarnings("ignore")

import ase  # noqa: E402
import torch  # noqa: E402
from chgnet.model import CHGNet  # noqa: E402
from chgnet.model.dynamics import CHGNetCalculator  # noqa: E402
from pymatgen.io.ase import AseAtomsAdaptor  # noqa: E402
from worker import serve, structure  # noqa: E402


class Chgnet:
    """CHGNet 0.3.0."""

    packages = ("chgnet", "pymatgen", "torch", "ase", "numpy")

    def __init__(self, settings: dict[str, Any]) -> None:
        torch.set_num_threads(settings["threads"])
        self.model = CHGNet.load(use_device="cpu", verbose=False)
        self.ase = CHGNetCalculator(self.model, use_device="cpu")

    def calculator(self, **_: Any) -> CHGNetCalculator:
        return self.ase

    def evaluation(self, atoms: ase.Atoms) -> Callable[[], tuple[float, Any]]:
        graph = self.model.graph_converter(AseAtomsAdaptor.get_structure(atoms))

        def run() -> tuple[float, Any]:
            found = self.model.predict_graph(graph, task="efs")
            return float(found["e"]) * len(atoms), found["f"]

        return run

    def training(self, frames: list[dict[str, Any]]) -> Callable[[], None]:
        model = CHGNet.load(use_device="cpu", verbose=False).train()
        graphs = [model.graph_converter(AseAtomsAdaptor.get_structure(structure(frame))) for frame in frames]
        energies = torch.tensor([frame["energy"] / len(frame["numbers"]) for frame in frames])
        forces = torch.cat([torch.tensor(frame["forces"]) for frame in frames])
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-5, amsgrad=True)

        def step() -> None:
            found = model(graphs, task="efs")
            # Its stress is in GPa and 3 × 3; the labels' size does not matter for the time, so it is drawn to zero.
            loss = (found["e"] - energies).square().mean() + 100 * (torch.cat(found["f"]) - forces).square().mean()
            loss = loss + 10 * torch.stack(found["s"]).square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

        return step


if __name__ == "__main__":
    serve(Chgnet)
