"""Two oxides from a file to a fine-tuned potential and a report.

    python examples/oxides/study.py --output demo [--quick]

Relaxes MgO and SrTiO3 with a universal model, heats SrTiO3, compares the model with 53 density functional calculations
of MgO, teaches it the difference on 10, 20 and 40 of them, and compares again on 13 it never saw. Runs offline on two
cores in a few minutes; a repeated call continues what an interrupted one had finished.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import groundstate as gs
from groundstate.api import LoadedModel
from groundstate.data import Record, from_ase, to_ase
from groundstate.report import Page, curves, parity, structures
from groundstate.simulation import progress_bar
from groundstate.training import load_recipe

HERE = Path(__file__).parent
PBE = gs.LevelOfTheory(
    functional="PBE",
    basis="PW 800 eV, 2x2x2 k",
    pseudopotential="gpaw-data 1.2.1 (PAW)",
    code="GPAW 26.7.0",
    energy_zero="isolated reference atoms, frozen cores",
)
CPU_SECONDS_PER_LABEL = 11.6
"""Of one core, for the labels in mgo_pbe.extxyz."""
RECIPE = load_recipe(HERE.parent.parent / "recipes" / "mgo_finetune.toml")


@dataclass(frozen=True)
class Effort:
    """How much is computed: passes over the data by number of labels (about the same time for each), steps, DFT."""

    epochs: Mapping[int, int]
    md_steps: int
    dft: bool

    @property
    def most(self) -> int:
        """The largest number of labels."""
        return max(self.epochs)


FULL = Effort({10: 200, 20: 120, 40: 75}, 100, dft=True)
QUICK = Effort({10: 8}, 4, dft=False)
"""Every part of it, nothing of its accuracy: seconds."""
console = Console()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--output", type=Path, default=Path("demo"), help="folder for everything that is made")
    arguments.add_argument("--model", default="groundstate-0-S", help="universal model to start from")
    arguments.add_argument("--quick", action="store_true", help="every part of it in seconds; its numbers mean nothing")
    output = arguments.parse_args()
    effort = QUICK if output.quick else FULL
    folder: Path = output.output
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    model = gs.load(output.model)
    console.print(f"Universal model: [bold]{model.id}[/bold]")
    relaxed = relax(model, folder)
    trajectory = heat(model, relaxed[1].system, folder, effort)
    labels = gs.read(HERE / "mgo_pbe.extxyz", theory=PBE)
    console.print(labels.report.as_text())
    learners, unseen = teach(model, labels.records, folder, effort)
    live = live_point(labels.records) if effort.dft else {"run": False, "text": "DFT point not run in a quick study."}
    page = report(model, relaxed, trajectory, learners, unseen, live, effort, time.perf_counter() - start)
    path = page.write(folder / "report.html")
    summary(learners)
    console.print(f"\nReport: [bold]{path}[/bold]   ({time.perf_counter() - start:.0f} s)")


def relax(model: LoadedModel, folder: Path) -> list[Any]:
    """Both crystals to the minimum of the universal model, cell and all."""
    with progress_bar("relax MgO, SrTiO3") as progress:
        results = gs.relax(
            [HERE / "MgO.cif", HERE / "SrTiO3.cif"],
            model,
            cell="full",
            force_tolerance=0.01,
            output=folder / "relax",
            progress=progress,
        )
    for name, result in zip(("MgO", "SrTiO3"), results, strict=True):
        length = float(result.system.volume[0]) ** (1 / 3)
        console.print(f"{name}: {result.status} after {result.steps} steps, a = {length:.3f} Å {result.reason}")
    return results


def heat(model: LoadedModel, relaxed: gs.System, folder: Path, effort: Effort) -> Any:
    """Steps of SrTiO3, 40 atoms, at 300 K."""
    supercell = from_ase(to_ase(relaxed)[0].repeat((2, 2, 2)))
    with progress_bar("SrTiO3 at 300 K") as progress:
        (result,) = gs.md(
            supercell,
            model,
            steps=effort.md_steps,
            timestep_fs=1.0,
            temperature_K=300.0,
            ensemble="langevin",
            friction_per_ps=10.0,
            record_every=1,
            output=folder / "md",
            progress=progress,
        )
    console.print(f"SrTiO3 at 300 K: {result.status}, {result.steps} steps, mean T {result.mean_temperature_K:.0f} K")
    return result


def teach(
    model: LoadedModel, records: Sequence[Record], folder: Path, effort: Effort
) -> tuple[dict[str, dict[int, Any]], list[Record]]:
    """Errors on unseen frames of the universal model, of it corrected, of a model from scratch, by labels used.

    The unseen frames are every fourth of the distorted ones; no choice anywhere is made by looking at them. Each
    learner holds a fifth of its own labels out to choose its best weights.
    """
    equilibrium, distorted = records[0], list(records[1:])
    unseen = distorted[3::4]
    pool = [record for i, record in enumerate(distorted) if i % 4 != 3]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0)).tolist()
    pool = [equilibrium, *(pool[i] for i in order)]
    learners: dict[str, dict[int, Any]] = {
        "universal": {0: judge(model, unseen, equilibrium)},
        "fine-tuned": {},
        "scratch": {},
    }
    for size, epochs in effort.epochs.items():
        chosen = pool[:size]
        held_out = chosen[4::5]
        taught = [record for i, record in enumerate(chosen) if i % 5 != 4]
        console.print(f"Learning from {size} labels ({len(taught)} to fit, {len(held_out)} to choose the best weights)")
        options = {**RECIPE.train.as_dict(), "epochs": epochs, "progress": True}
        # No replay: for MgO alone, what else the base knows may go. A public model gets a correction of that shape.
        own = {"certify": False, "replay_share": 0.0, "model": RECIPE.model}
        tuned = gs.finetune(model, taught, held_out, folder / f"finetune-{size}", **own, **options)
        scratch = gs.train(taught, held_out, folder / f"scratch-{size}", **options)  # size S, as the default model
        learners["fine-tuned"][size] = judge(gs.load(tuned.path), unseen, equilibrium)
        learners["scratch"][size] = judge(gs.load(scratch.path), unseen, equilibrium)
    return learners, unseen


def judge(model: LoadedModel, unseen: Sequence[Record], equilibrium: Record) -> dict[str, Any]:
    """Energy differences to the equilibrium frame, forces and stress on the unseen frames; the errors' RMSE."""
    asked = [equilibrium, *unseen]
    results = gs.predict([record.system for record in asked], model, ("energy", "forces", "stress"))
    for result in results:
        if result.problem is not None:
            raise result.problem
    n_atoms = equilibrium.n_atoms
    predicted = [result.values for result in results]
    labelled = [record.labels for record in asked]

    def both(name: str) -> tuple[np.ndarray, np.ndarray]:
        if name == "energy":
            pairs = [
                [float(values["energy"] - source[0]["energy"]) / n_atoms for values in source[1:]]
                for source in (labelled, predicted)
            ]
        else:
            pairs = [
                torch.cat([values[name].reshape(-1) for values in source[1:]]).tolist()
                for source in (labelled, predicted)
            ]
        return np.array(pairs[0]), np.array(pairs[1])

    values = {name: both(name) for name in ("energy", "forces", "stress")}
    errors = {name: float(np.sqrt(np.mean((reference - guess) ** 2))) for name, (reference, guess) in values.items()}
    return {"model": model.id, "values": values, "rmse": errors}


def live_point(records: Sequence[Record], frame: int = 1) -> dict[str, Any]:
    """One label computed again, where the engine is installed."""
    if importlib.util.find_spec("gpaw") is None:
        return {
            "run": False,
            "text": "DFT point not run: GPAW is not installed here. On Debian: apt-get install g++ libxc-dev "
            "libopenblas-dev libfftw3-dev, then pip install gpaw; it takes about a minute to compute.",
        }
    command = [sys.executable, str(HERE / "gpaw_point.py"), str(HERE / "mgo_pbe.extxyz"), str(frame)]
    with console.status("one PBE point with GPAW"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"run": False, "text": f"DFT point failed: {done.stderr.strip().splitlines()[-1:]}"}
    found = json.loads(done.stdout)
    energy = float(found["energy_eV"] - records[frame].labels["energy"]) / records[frame].n_atoms
    force = float((torch.tensor(found["forces_eV_per_A"]) - records[frame].labels["forces"]).abs().max())
    text = f"DFT point recomputed (frame {frame}): ΔE {1000 * energy:+.3f} meV/atom, max |ΔF| {1000 * force:.2f} meV/Å."
    return {"run": True, "text": text}


def error_rows(learners: dict[str, dict[int, Any]]) -> list[list[Any]]:
    """One row per model: labels used, DFT cost, errors in meV and GPa."""
    rows = []
    for name, by_size in learners.items():
        for size, judged in by_size.items():
            rmse = judged["rmse"]
            rows.append(
                [
                    name,
                    size,
                    round(size * CPU_SECONDS_PER_LABEL / 60, 1),
                    1000 * rmse["energy"],
                    1000 * rmse["forces"],
                    160.21766 * rmse["stress"],
                ]
            )
    return rows


COLUMNS = ["model", "labels", "DFT CPU minutes", "ΔE to equilibrium (meV/atom)", "force (meV/Å)", "stress (GPa)"]


def summary(learners: dict[str, dict[int, Any]]) -> None:
    """The table, on the terminal."""
    table = Table(title="RMSE on 13 unseen MgO configurations, against PBE", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in error_rows(learners):
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)


def report(
    model: LoadedModel,
    relaxed: Sequence[Any],
    trajectory: Any,
    learners: dict[str, dict[int, Any]],
    unseen: Sequence[Record],
    live: dict[str, Any],
    effort: Effort,
    seconds: float,
) -> Page:
    """The page: result first, then how."""
    before = learners["universal"][0]["rmse"]
    after = {name: 1000 * learners[name][effort.most]["rmse"]["forces"] for name in ("fine-tuned", "scratch")}
    page = Page(
        "MgO and SrTiO3: from a universal model to one's own",
        lead=f"Force error on {len(unseen)} unseen configurations of MgO: {1000 * before['forces']:.0f} meV/Å for "
        f"{model.id}; with {effort.most} DFT labels {after['fine-tuned']:.0f} when it is fine-tuned and "
        f"{after['scratch']:.0f} for a model of one's own from scratch in as many passes.",
    )
    if effort is QUICK:
        page.text("A quick study: every part of it was run, nothing was learnt. Its errors mean nothing.", note=True)
    _errors(page, learners, effort)
    _costs(page, learners)
    page.text(live["text"], note=True)
    _relaxed(page, relaxed)
    _heated(page, trajectory)
    page.heading("Provenance")
    page.facts(
        {
            "universal model": model.id,
            "fine-tuned model": learners["fine-tuned"][effort.most]["model"],
            "labels": PBE.id,
            "groundstate": gs.__version__,
            "torch": torch.__version__,
            "seconds": round(seconds, 1),
        }
    )
    return page


def _errors(page: Page, learners: dict[str, dict[int, Any]], effort: Effort) -> None:
    """Before and after, point by point."""
    shown = {name: by_size[0 if name == "universal" else effort.most] for name, by_size in learners.items()}
    panels = {
        label: {who: judged["values"][name] for who, judged in shown.items()}
        for name, label in (("energy", "ΔE (eV/atom)"), ("forces", "force (eV/Å)"), ("stress", "stress (eV/Å³)"))
    }
    data = {
        label: {who: {"pbe": pair[0].tolist(), "model": pair[1].tolist()} for who, pair in series.items()}
        for label, series in panels.items()
    }
    page.figure(parity(panels), f"Unseen MgO configurations against PBE: before, and after {effort.most} labels", data)
    page.table(COLUMNS, error_rows(learners), caption="RMSE on the unseen configurations")


def _costs(page: Page, learners: dict[str, dict[int, Any]]) -> None:
    """Force errors over what their labels cost."""
    page.heading("What accuracy costs")
    taught = {name: by_size for name, by_size in learners.items() if name != "universal"}
    errors = {
        name: (
            [size * CPU_SECONDS_PER_LABEL / 60 for size in by_size],
            [1000 * judged["rmse"]["forces"] for judged in by_size.values()],
        )
        for name, by_size in taught.items()
    }
    figure = curves(
        errors,
        "CPU minutes of DFT for labels",
        "force RMSE (meV/Å)",
        logarithmic=True,
        markers=True,
        levels={"universal, no labels": 1000 * learners["universal"][0]["rmse"]["forces"]},
    )
    page.figure(
        figure, "Force error against the cost of its labels: corrected universal model, model from scratch", errors
    )


def _relaxed(page: Page, relaxed: Sequence[Any]) -> None:
    page.heading("Relaxed without any label")
    named = dict(zip(("MgO", "SrTiO3"), relaxed, strict=True))
    page.figure(structures({name: result.system for name, result in named.items()}), "Relaxed conventional cells")
    rows = [
        [
            name,
            result.status,
            result.steps,
            float(result.system.volume[0]) ** (1 / 3),
            result.energy / result.system.n_atoms,
        ]
        for name, result in named.items()
    ]
    page.table(["crystal", "end", "steps", "a (Å)", "energy (eV/atom)"], rows)


def _heated(page: Page, trajectory: Any) -> None:
    page.heading("SrTiO3 at 300 K")
    samples = trajectory.samples
    times = samples["time_fs"].numpy()
    n_atoms = trajectory.system.n_atoms
    temperature = {"temperature": (times, samples["temperature_K"].numpy())}
    energies = {
        "potential": (times, (samples["potential"] - samples["potential"][0]).numpy() * 1000 / n_atoms),
        "total": (times, (samples["total"] - samples["total"][0]).numpy() * 1000 / n_atoms),
    }
    page.figure(curves(temperature, "time (fs)", "temperature (K)"), f"{n_atoms} atoms, Langevin thermostat at 300 K")
    page.figure(curves(energies, "time (fs)", "energy change (meV/atom)"), "Energy along the run")


if __name__ == "__main__":
    main()
