"""The speed of this package's MACE beside other packages, each in its own environment, on one core of one machine.

    python benchmarks/speed/run.py --environments .venv-peers --output build/speed --install
    python benchmarks/speed/run.py --environments .venv-peers --output build/speed --quick --peers mace

Every finished measurement is kept, so the same command goes on where it was stopped, and tries again what failed;
--fresh starts over. Writes results.json, speed.png and speed.svg to the output. See docs/benchmarks.md.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environments
import machine
import page
import plan
import roofline
import structures
from plan import Case, Contender, Group
from process import LostError, Process
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from store import Store

from groundstate.atoms import GroundstateError

LOADING_S, ANSWER_S = 180.0, 300.0
"""A contender that takes longer to load, or for one measurement, is given up."""
BUDGET_S = 2.0
MEMORY_SHARE = 0.6
"""Of the free memory that an optional case may be expected to take."""


def main() -> int:
    """Measure what is missing, then write tables and pictures of all there is."""
    options = _options()
    peers = [name for name in options.peers.split(",") if name]
    if unknown := sorted(set(peers) - set(plan.PACKAGES)):
        sys.exit(f"E-BENCH-PEER: there is no peer {', '.join(unknown)}. Known are {', '.join(plan.PACKAGES)}.")
    console = Console()
    options.output.mkdir(parents=True, exist_ok=True)
    options.environments.mkdir(parents=True, exist_ok=True)
    pythons = _pythons(options, peers, console)
    hardware = machine.describe()
    store = Store(options.output, hardware, fresh=options.fresh)
    groups = (plan.quick if options.quick else plan.full)(peers)
    if options.converted:
        _convert(groups, pythons, options, console)
    names = sorted({case.structure for group in groups for case in group.cases} & set(structures.NAMES))
    file = options.output.resolve() / "structures.json"
    atoms = structures.write(file, names) | {"small crystals": 1, "training batch": 1}

    bench = Bench(store, pythons, file, atoms, options)
    total = sum(len(list(_turns(group))) for group in groups)
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=total)
        for group in groups:
            for line, finished in bench.measure(group):
                progress.update(bar, description=line, advance=int(finished))
                if finished:
                    progress.console.print(line, highlight=False, markup=False)

    document = page.document(store, hardware, machine.commit(), options.command)
    page.save(document, options.output)
    page.show(document, console)
    console.print(f"\n{options.output}/results.json, speed.png, speed.svg", highlight=False)
    return 0


class Bench:
    """Asks contenders, case by case in turn, and keeps what they answer."""

    def __init__(
        self,
        store: Store,
        pythons: dict[str, Path],
        structures_file: Path,
        atoms: dict[str, int],
        options: argparse.Namespace,
    ) -> None:
        self.store, self.pythons, self.structures_file = store, pythons, structures_file
        self.atoms, self.options = atoms, options
        self.commit = machine.commit()
        self.processes: dict[str, Process] = {}
        self.lost: dict[str, str] = {}

    def measure(self, group: Group) -> Iterator[tuple[str, bool]]:
        """One group; says what it begins and what it has finished, which of the two is the second item."""
        missing = [turn for turn in _turns(group) if self.store.finished(*turn) is None]
        if missing:
            self.store.keep_peak(roofline.measure_peak(self.options.core))
        try:
            for contender, case, turn in _turns(group):
                title = f"{contender.label}: {case.name}"
                yield title, False
                measured = self.store.finished(contender, case, turn)
                if measured is None:
                    measured = self._one(contender, case)
                    self.store.keep(contender, case, turn, measured | {"commit": self.commit})
                yield f"{title}: {_outcome(contender, measured)}", True
        finally:
            for process in self.processes.values():
                process.close()
            self.processes.clear()
            self.lost.clear()

    def _one(self, contender: Contender, case: Case) -> dict[str, Any]:
        if reason := self._too_much(contender, case):
            return {"skipped": reason}
        if contender.name in self.lost:
            return {"error": self.lost[contender.name]}
        try:
            process = self._process(contender)
        except LostError as loss:
            self.lost[contender.name] = f"it did not load: {loss}"
            return {"error": self.lost[contender.name]}
        question = {
            "task": case.task,
            "structure": case.structure,
            "budget_s": BUDGET_S,
            "least": 1 if (self._expected(contender, case) or 0.0) > 2 * BUDGET_S else 2,
            "steps": case.steps,
            "options": case.options,
        }
        try:
            measured = process.ask(question, ANSWER_S)
        except LostError as loss:
            self.processes.pop(contender.name)
            return {"error": str(loss)}
        return measured | {"atoms": self.atoms[case.structure], "loaded_MB": process.hello["loaded_MB"]}

    def _process(self, contender: Contender) -> Process:
        if contender.name not in self.processes:
            model = self.options.models.get(f"{contender.shape}-{contender.dtype}") if contender.who == "ours" else None
            settings = {
                "structures": str(self.structures_file),
                "shape": contender.shape,
                "dtype": contender.dtype,
                "threads": contender.threads,
                "model": model,
            }
            if contender.who not in self.pythons:
                raise LostError("its environment is missing; --install makes it")
            process = Process(
                self.pythons[contender.who],
                "ours.py" if contender.who == "ours" else f"peer_{contender.who}.py",
                settings,
                cores=[self.options.core, *(c for c in range(os.cpu_count() or 1) if c != self.options.core)][
                    : contender.threads
                ],
                environment=plan.TUNED if contender.tuned else {},
                log=self.options.output / "measurements" / f"{contender.name}.log",
                timeout_s=LOADING_S,
            )
            self.store.keep_hello(contender, process.hello | {"label": contender.label, "model": model})
            self.processes[contender.name] = process
        return self.processes[contender.name]

    def _too_much(self, contender: Contender, case: Case) -> str:
        """Why an optional case is left out, by what smaller ones took."""
        if case.required or case.task != "evaluate":
            return ""
        seconds, memory = self._expected(contender, case), self._expected(contender, case, "memory")
        if seconds is not None and seconds > self.options.longest:
            return f"one evaluation would take about {seconds:.2g} s"
        if memory is not None and memory > MEMORY_SHARE * machine.available_memory_MB():
            return f"one evaluation would take about {memory / 1000:.2g} GB"
        return ""

    def _expected(self, contender: Contender, case: Case, what: str = "time") -> float | None:
        """Seconds or MB of one evaluation, in proportion to the largest structure of this kind measured before."""
        kind, target = case.structure.split()[0], self.atoms[case.structure]
        known = []
        for found in self.store.all():
            if found["contender"] == contender.name and found["structure"].split()[0] == kind and "values" in found:
                used = found["memory_peak_MB"] - found["loaded_MB"]
                known.append((found["atoms"], min(found["cpu"]) if what == "time" else used))
        if not known:
            return None
        atoms, cost = max(known)
        return cost * target / atoms


def _turns(group: Group) -> Iterator[tuple[Contender, Case, int]]:
    """Each case in turn for all contenders, as often as it has rounds."""
    for case in group.cases:
        for turn in range(case.rounds):
            for contender in group.contenders:
                if not case.only or contender.who in case.only:
                    yield contender, case, turn


def _outcome(contender: Contender, measured: dict[str, Any]) -> str:
    if "error" in measured:
        return f"failed ({measured['error']})"
    if "skipped" in measured:
        return f"left out ({measured['skipped']})"
    return f"{1e3 * min(measured['cpu' if contender.threads == 1 else 'wall']):.4g} ms"


def _pythons(options: argparse.Namespace, peers: list[str], console: Console) -> dict[str, Path]:
    found = {"ours": Path(sys.executable)}
    for peer in peers:
        python = options.pythons.get(peer) or environments.python_of(options.environments.resolve(), peer)
        if options.install and peer not in options.pythons:
            console.print(f"environment of {peer}", highlight=False)
            try:
                environments.install(options.environments.resolve(), peer, options.torch_index)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                console.print(f"{peer} could not be installed: {error}", highlight=False)
        if Path(python).exists():
            found[peer] = Path(python)
    return found


def _convert(groups: list[Group], pythons: dict[str, Path], options: argparse.Namespace, console: Console) -> None:
    """Our contenders get the models of the reference, as far as it is there and they were not named."""
    if plan.REFERENCE not in pythons:
        console.print("nothing to convert: mace-torch is not there; our models are untrained", highlight=False)
        return
    ours = {(c.shape, c.dtype) for group in groups for c in group.contenders if c.who == "ours"}
    for shape, dtype in sorted(ours):
        if (name := f"{shape}-{dtype}") not in options.models:
            console.print(f"model of mace-torch, {name}", highlight=False)
            folder, python = options.output.resolve() / "models", pythons[plan.REFERENCE]
            try:
                file = environments.converted(folder, python, shape, dtype, again=options.fresh)
            except (GroundstateError, subprocess.CalledProcessError) as error:
                console.print(f"{name} could not be converted, ours is untrained: {error}", markup=False)
            else:
                options.models[name] = str(file)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--peers", default=",".join(plan.PACKAGES), help="whom to compare with; empty for none")
    parser.add_argument("--environments", type=Path, required=True, metavar="DIR", help="where the peers are installed")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    parser.add_argument("--torch-index", default="", metavar="URL", help="a further package index, for torch")
    parser.add_argument("--quick", action="store_true", help="the medium shape in float32 against mace-torch only")
    parser.add_argument("--fresh", action="store_true", help="forget finished measurements")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH", help="an interpreter to use")
    parser.add_argument(
        "--model", action="append", default=[], metavar="SHAPE-DTYPE=FILE", help="ours: a converted model, by shape"
    )
    parser.add_argument("--converted", action="store_true", help="ours: mace-torch's own models, converted")
    parser.add_argument("--longest", type=float, default=6.0, metavar="S", help="of one evaluation that is optional")
    parser.add_argument("--core", type=int, default=(os.cpu_count() or 1) - 1, help="the core contenders run on")
    options = parser.parse_args()
    options.pythons = {name: Path(path) for name, path in _pairs(options.python, parser)}
    options.models = {name: str(Path(path).resolve()) for name, path in _pairs(options.model, parser)}
    options.command = " ".join(sys.argv[1:])
    options.started = time.time()
    return options


def _pairs(given: list[str], parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for pair in given:
        name, separator, value = pair.partition("=")
        if not separator or not Path(value).exists():
            parser.error(f"E-BENCH-OPTION: '{pair}' is not NAME=PATH of a file that exists")
        yield name, value


if __name__ == "__main__":
    sys.exit(main())
