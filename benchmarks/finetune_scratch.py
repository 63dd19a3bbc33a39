"""Fine-tuning against training from scratch on 50 structures, and what a base forgets over it.

    python benchmarks/finetune_scratch.py --data DATA --model base.safetensors --output /somewhere

Molybdenum (mlearn, VASP), barium titanate (Quantum ESPRESSO, 135 atoms) and magnesium oxide (GPAW): three codes. Each
file is cut into blocks; contiguous blocks are held out, half of whose frames choose the epoch and half judge. Both ways
get the same structures and losses, and options by their number (`training.choose`, `training.from_scratch`); the model
from scratch has the shape of the base where that is ours. What is forgotten is the rise of the mean absolute error of
forces on labelled structures that nobody here was taught (`--base-set`). Targets: error at most half of that from
scratch; rise below 5 % with replay.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import groundstate as gs
from groundstate.data import Record, read
from groundstate.potentials import Potential
from groundstate.potentials.mace import MACEConfig
from groundstate.training import CONTINUED, blocked, evaluate_errors, from_scratch

FILES = {
    "Mo": "mlearn/Mo_train.xyz",
    "BaTiO3": "batio3_pol/BaTiO3_parseqe.xyz",
    "MgO": "own_dft/mgo_pbe/mgo8_pbe.extxyz",
}
BASE_SET, BASE_FRAMES, BASE_ATOMS = "mptrj_sample/mptrj-random-1k.xyz", 150, 24
TARGET, RISE = 0.5, 0.05


@dataclass(frozen=True)
class Errors:
    """RMSE on the judging frames: energy (meV/atom, mean taken out), forces (meV/Å); seconds of training."""

    energy: float
    forces: float
    seconds: float

    @classmethod
    def of(cls, potential: Potential, records: Sequence[Record], seconds: float = 0.0) -> "Errors":
        """Of one model."""
        table = evaluate_errors(potential, records)
        return cls(1e3 * table["energy_no_offset"].rmse, 1e3 * table["forces"].rmse, seconds)


def main() -> None:
    """Print a line per set, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public data sets")
    parser.add_argument("--model", default="chgnet", help="base: a name or a model file")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs; the same call continues")
    parser.add_argument("--sets", nargs="+", default=list(FILES), choices=list(FILES))
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--base-set", type=Path, help="labelled structures to judge forgetting by")
    parser.add_argument("--epochs", type=int, help="passes over the structures, of both ways; for a quick look")
    parser.add_argument("--option", nargs="*", default=[], metavar="NAME=VALUE", help="of fine-tuning, as JSON values")
    arguments = parser.parse_args()
    base = gs.load(arguments.model).potential
    options = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in arguments.option)}
    judged_by = base_set(base, arguments.base_set or arguments.data / BASE_SET)
    print(
        f"base {base.fingerprint()}; base set {len(judged_by)} structures; options {options or 'by number of frames'}"
    )
    rows = {}
    for name in arguments.sets:
        records = read(arguments.data / FILES[name]).records
        rows[name] = compare(name, records, arguments, base, judged_by, options)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "finetune_scratch.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def base_set(base: Potential, file: Path) -> list[Record]:
    """Small structures of elements the base knows, at most 150."""
    known = base.domain.elements
    records = read(file, missing="mask").records
    fitting = [r for r in records if r.n_atoms <= BASE_ATOMS and (known is None or known >= set(elements(r)))]
    return [r for r in fitting if "forces" in r.labels][:BASE_FRAMES]


def elements(record: Record) -> set[int]:
    """Atomic numbers."""
    return set(record.system.numbers.tolist())


def compare(
    name: str,
    records: Sequence[Record],
    arguments: argparse.Namespace,
    base: Potential,
    judged_by: Sequence[Record],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """One set, both ways, with and without replay where the base is ours."""
    output, short = arguments.output, {} if arguments.epochs is None else {"epochs": arguments.epochs}
    pool, held = blocked(records, 0.25, 12)
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0)).tolist()[: arguments.frames]
    taught, choosing, judging = [pool[i] for i in order], held[::2], held[1::2]
    ours = base.describe()["kind"] in CONTINUED
    shape = base.trunk.config if ours else MACEConfig.of_size("S")
    work = from_scratch(len(taught)) | short
    scratch = gs.train(taught, choosing, output / f"{name}-scratch", model=shape, **work)
    found: dict[str, Any] = {
        "taught": len(taught),
        "base": vars(Errors.of(base, judging)),
        "scratch": vars(Errors.of(scratch.potential, judging, scratch.seconds)),
    }
    ways: dict[str, dict[str, Any]] = {"tuned": {}, "without replay": {"replay_share": 0.0}} if ours else {"tuned": {}}
    for way, changes in ways.items():
        chosen = {**short, **options, **changes}
        result = gs.finetune(
            base, taught, choosing, output / f"{name}-{way.replace(' ', '-')}", certify=False, **chosen
        )
        found[way] = vars(Errors.of(result.potential, judging, result.seconds))
        known = result.potential.domain.elements
        fitting = [r for r in judged_by if known is None or known >= elements(r)]
        if len(fitting) >= 10:
            before, after = (evaluate_errors(model, fitting)["forces"].mae for model in (base, result.potential))
            found[way]["rise"] = after / before - 1
    report(name, found)
    return found


def report(name: str, found: Mapping[str, Any]) -> None:
    """In words a person reads."""
    print(f"{name}: {found['taught']} structures taught; RMSE of energy (meV/atom) and forces (meV/Å)")
    for way in ("base", "scratch", "without replay", "tuned"):
        if way in found:
            row = found[way]
            rise = f"   base set {100 * row['rise']:+.1f} %" if "rise" in row else ""
            print(f"  {way:<16}{row['energy']:>9.2f}{row['forces']:>9.1f}{row['seconds']:>8.0f} s{rise}")
    ratio = {key: found["tuned"][key] / found["scratch"][key] for key in ("energy", "forces")}
    met = "met" if max(ratio.values()) <= TARGET else "missed"
    print(f"  tuned / scratch: energy {ratio['energy']:.2f}, forces {ratio['forces']:.2f} (target {TARGET}: {met})")
    if "rise" in found["tuned"]:
        kept = "met" if found["tuned"]["rise"] < RISE else "missed"
        print(f"  forgetting with replay: {100 * found['tuned']['rise']:+.1f} % (target below 5 %: {kept})", flush=True)


if __name__ == "__main__":
    main()
