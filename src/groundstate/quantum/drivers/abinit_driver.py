"""ABINIT at work: writes its input, runs `abinit` and `anaddb`, reads what they print.

Settings are the fields of `engines.abinit.Abinit`. Three data sets make the response: the ground state, the derivatives
of the orbitals by k, and the responses to displacements and field at Γ. PAW with a gradient-corrected functional needs
`pawxcdev 0`; an unstable crystal needs `dieflag 2`, for with `1` anaddb stops at an imaginary frequency.
Checked: tests/quantum/test_abinit_engine.py
"""

import gzip
import hashlib
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

Arrays = dict[str, Any]
"""A structure, or an answer: arrays by name."""
HARTREE, BOHR = 27.211386245988, 0.529177210903
RESPONSE = frozenset(
    {"born_charges", "dielectric_tensor", "neutrality_violation", "phonon_frequencies_TO", "phonon_frequencies_LO"}
)
ANALYSIS = """dieflag 2
nph2l 1
qph2l 1.0 0.0 0.0 0.0
chneut 1
asr 1
nqshft 1
ngqpt 1 1 1
q1shft 0 0 0
nph1l 1
qph1l 0 0 0 1
"""


class NotConvergedError(Exception):
    """The self-consistent field or a response ended without a solution."""

    code = "E-SCF-NOT-CONVERGED"


class NeutralityError(Exception):
    """The Born charges do not add up to zero."""

    code = "E-BORN-NEUTRALITY"


class PseudopotentialError(Exception):
    """The folder has no file for an element."""

    code = "E-PSEUDOPOTENTIALS"


class InsulatingCrystals:
    """Answers under fixed settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        said = subprocess.run(["abinit", "--version"], capture_output=True, text=True, check=True).stdout
        self.facts = {"version": said.split()[0], "pseudopotentials": _identity(settings["pseudopotentials"])}

    def __call__(self, structures: list[Arrays], want: list[str]) -> list[Arrays | Exception]:
        return [_attempt(structure, set(want), self.settings) for structure in structures]


def start(settings: dict[str, Any]) -> InsulatingCrystals:
    """What `external/worker.py` asks of a driver."""
    return InsulatingCrystals(settings)


def _identity(folder: str) -> str:
    """Names and sizes of the files of a folder, hashed: another set of pseudopotentials is another level of theory."""
    listed = sorted((path.name, path.stat().st_size) for path in Path(folder).iterdir())
    return hashlib.sha256(repr(listed).encode()).hexdigest()[:12]


def _attempt(structure: Arrays, want: set[str], settings: Arrays) -> Arrays | Exception:
    try:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            response = bool(want & RESPONSE)
            (folder / "run.abi").write_text(_input(structure, folder, settings, response))
            output = _run(["abinit", "run.abi"], folder, "run.abo")
            if "was not enough" in output or "not enough SCF cycles" in output:
                return NotConvergedError(f"not converged in {settings['max_cycles']} cycles")
            found = _ground_state(output, len(structure["numbers"]))
            if response:
                found.update(_response(folder, len(structure["numbers"])))
                if found["neutrality_violation"] > settings["neutrality_e"]:
                    return NeutralityError(
                        f"the Born charges add up to {found['neutrality_violation']:.3f} e instead of 0: the k-mesh is"
                        " too coarse, and a soft mode may come out stable"
                    )
            return {name: found[name] for name in want}
    except Exception as error:  # noqa: BLE001 — one structure that fails must not end the others
        return error


def _run(words: list[str], folder: Path, result: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    path = folder / result
    output = path.read_text(errors="replace") if path.exists() else ""
    errors = re.findall(r"--- !(?:ERROR|BUG).*?\.\.\.", done.stdout + output, re.S)
    if errors or done.returncode != 0 or ("Calculation completed" not in done.stdout + output and words[0] == "abinit"):
        said = " ".join((errors[0] if errors else done.stderr or done.stdout[-300:]).split())
        raise RuntimeError(f"{words[0]} stopped: {said[:400]}")
    return output


def _input(structure: Arrays, folder: Path, settings: Arrays, response: bool) -> str:
    numbers, cell = structure["numbers"].astype(int), np.asarray(structure["cell"]) / BOHR
    kinds = sorted(set(numbers.tolist()), key=numbers.tolist().index)
    files = [_pseudopotential(chemical_symbols[z], folder, settings) for z in kinds]
    fractional = np.linalg.solve(cell.T, np.asarray(structure["positions"]).T / BOHR).T
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(structure["cell"]), axis=0)
    mesh = settings["k_mesh"] or [
        int(n) for n in np.maximum(1, np.ceil(reciprocal / settings["k_spacing_per_A"] - 1e-6))
    ]
    paw = files[0].endswith(".xml")
    lines = [
        f'pp_dirpath "{folder}"',
        'pseudos "' + ", ".join(files) + '"',
        "acell 3*1.0",
        "rprim " + _numbers(cell),
        f"natom {len(numbers)} ntypat {len(kinds)}",
        "znucl " + " ".join(map(str, kinds)),
        "typat " + " ".join(str(kinds.index(z) + 1) for z in numbers.tolist()),
        "xred " + _numbers(fractional),
        f"ecut {settings['cutoff_Ha']} ixc {11 if settings['method'] == 'PBE' else 7}",
        f"pawecutdg {settings['fine_cutoff_Ha']} pawxcdev 0" if paw else "",
        "ngkpt " + " ".join(map(str, mesh)),
        f"nshiftk {len(settings['k_shifts'])} shiftk " + _numbers(settings["k_shifts"]),
        f"diemac 6 nstep {settings['max_cycles']} chksymbreak 0",
    ]
    if not response:
        return "\n".join([*lines, f"tolvrs {settings['residual']}", "optforces 1 optstress 1", ""])
    return "\n".join(
        [
            *lines,
            "ndtset 3 kptopt1 1",
            f"tolvrs1 {settings['residual']}",
            "getwfk2 -1 rfelfd2 2 rfdir2 1 1 1 kptopt2 2 iscf2 -3 tolwfr2 1e-14",
            f"getwfk3 1 getddk3 2 rfphon3 1 rfatpol3 1 {len(numbers)} rfdir3 1 1 1 rfelfd3 3 kptopt3 2",
            f"tolvrs3 {settings['response_residual']} nqpt3 1 qpt3 0 0 0 prepanl3 0",
            "",
        ]
    )


def _pseudopotential(symbol: str, folder: Path, settings: Arrays) -> str:
    """The file of an element, copied beside the input; GPAW's setups are unpacked on the way."""
    source = Path(settings["pseudopotentials"])
    method = settings["method"]
    for name in (f"{symbol}.psp8", f"{symbol}.xml", f"{symbol}.{method}.xml", f"{symbol}.{method}.gz"):
        if (source / name).is_file():
            content = (source / name).read_bytes()
            packed = name.endswith(".gz")
            target = f"{symbol}.{method}.xml" if packed else name
            (folder / target).write_bytes(gzip.decompress(content) if packed else content)
            return target
    raise PseudopotentialError(f"'{source}' has no {method} pseudopotential of {symbol}")


def _numbers(values: Any) -> str:
    return " ".join(f"{float(x):.15g}" for x in np.asarray(values, dtype=float).ravel())


def _ground_state(output: str, n_atoms: int) -> Arrays:
    """Energy, forces and stress of the first data set, from its document of results."""
    document = output[output.index("--- !ResultsGS") :]
    # The echo of variables at the end has more digits than the document.
    energy = re.search(r"^\s*etotal1?\s+(-?\d\S+)", document, re.M)
    if energy is None:
        raise ValueError("abinit printed no total energy")
    forces = _rows(document, "cartesian_forces", n_atoms) * HARTREE / BOHR
    stress = _rows(document, "cartesian_stress_tensor", 3) * HARTREE / BOHR**3
    return {"energy": float(energy.group(1)) * HARTREE, "forces": forces, "stress": stress}


def _rows(document: str, title: str, count: int) -> Any:
    block = document[document.index(title) :]
    rows = re.findall(r"^- \[(.*?)\]", block, re.M)[:count]
    return np.array([[float(x) for x in row.replace("D", "E").split(",")[:3]] for row in rows])


def _response(folder: Path, n_atoms: int) -> Arrays:
    """Z*, ε∞, their neutrality and the frequencies at Γ, as anaddb prints them."""
    (folder / "ana.abi").write_text(ANALYSIS)
    (folder / "ana.files").write_text("ana.abi\nana.abo\nrun_DDB\nband\ngkk\nep\nddk\n")
    names = [path.name for path in folder.glob("run*_DS3_DDB")]
    if len(names) != 1:
        raise FileNotFoundError("abinit left no derivative database")
    (folder / "run_DDB").write_bytes((folder / names[0]).read_bytes())
    with (folder / "ana.files").open() as files:
        done = subprocess.run(["anaddb"], stdin=files, cwd=folder, capture_output=True, text=True, check=False)
    path = folder / "ana.abo"
    output = path.read_text(errors="replace") if path.exists() else ""
    if "Effective charge tensors after" not in output:
        raise RuntimeError(f"anaddb gave no effective charges: {' '.join(done.stdout[-300:].split())}")
    violation = _table(output, "The violation of the charge neutrality", 9, 4)[:, 2]
    charges = _table(output, "Effective charge tensors after", 3 * n_atoms, 5)[:, 2:]
    dielectric = _table(output, "Electronic dielectric tensor", 3, 3)
    frequencies = [
        np.array([float(x) for x in re.findall(r"-?\d\.\d+E[+-]\d+", block)][: 3 * n_atoms])
        for block in output.split("Phonon frequencies in cm-1")[1:3]
    ]
    return {
        # anaddb's rows are (atom, displacement), its columns the field; ours are polarisation by displacement.
        "born_charges": charges.reshape(n_atoms, 3, 3).transpose(0, 2, 1),
        "dielectric_tensor": dielectric,
        "neutrality_violation": float(np.abs(violation).max()),
        "phonon_frequencies_TO": frequencies[0],
        "phonon_frequencies_LO": frequencies[1],
    }


def _table(output: str, title: str, rows: int, columns: int) -> Any:
    """The first rows of that many numbers after a title."""
    found: list[list[float]] = []
    for line in output[output.index(title) :].splitlines()[1:]:
        words = line.split()
        try:
            values = [float(word) for word in words]
        except ValueError:
            continue
        if len(values) == columns:
            found.append(values)
        if len(found) == rows:
            break
    return np.array(found)
