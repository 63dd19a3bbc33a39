"""i-PI's protocol against ASE's server, which speaks it independently: every number arrives, with its unit and sign."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc100, molecule
from ase.calculators.socketio import IPIProtocol, SocketIOCalculator
from ase.optimize import BFGS
from numpy.typing import NDArray

from groundstate import api
from groundstate.atoms import GroundstateError
from groundstate.cli import main
from groundstate.data import Record, from_ase, to_ase, write
from groundstate.potentials import Potential, checkpoint, evaluate
from groundstate.potentials.adapters.ipi import Address, Driven, drive
from small_mace import crystal, small
from toys import lennard_jones


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


class Driving(threading.Thread):
    """A driver in a thread, with what became of it."""

    def __init__(self, potential: Potential, template: Atoms, address: Address) -> None:
        super().__init__(daemon=True)
        self.asked = (potential, from_ase(template), address)
        self.ended: Driven | None = None
        self.error: GroundstateError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.ended = drive(*self.asked)
        except GroundstateError as error:
            self.error = error


def skewed() -> Atoms:
    atoms = bulk("Cu", "fcc", 3.7).repeat(2)
    atoms.set_cell(atoms.cell.array @ [[1.02, 0.03, 0.0], [0.0, 0.97, 0.02], [0.0, 0.0, 1.0]], scale_atoms=True)
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.parametrize("unix", [False, True])
def test_every_number_arrives_and_the_virial_has_the_sign_of_our_stress(unix: bool, tmp_path: Path) -> None:
    atoms = skewed()
    expected = evaluate(lennard_jones(), from_ase(atoms), ("energy", "forces", "stress"))
    where = {"unixsocket": f"groundstate-{tmp_path.name}"} if unix else {"port": free_port()}
    address = Address(unix=where["unixsocket"]) if unix else Address(port=where["port"])  # type: ignore[arg-type]
    with SocketIOCalculator(**where) as server:
        driving = Driving(lennard_jones(), atoms, address)
        atoms.calc = server
        assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), rel=1e-7)
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"].numpy(), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), expected["stress"][0].numpy(), rtol=1e-6, atol=1e-9)
        atoms.rattle(0.02, seed=2)
        atoms.set_cell(atoms.cell.array * 0.99, scale_atoms=True)
        again = evaluate(lennard_jones(), from_ase(atoms), ("energy",))
        assert atoms.get_potential_energy() == pytest.approx(float(again["energy"]), rel=1e-7)
    driving.join(10)
    assert driving.ended == Driven(2, "connection closed")


def test_a_relaxation_by_another_program() -> None:
    atoms = skewed()
    port = free_port()
    with SocketIOCalculator(port=port) as server:
        driving = Driving(lennard_jones(), atoms, Address(port=port))
        atoms.calc = server
        BFGS(atoms, logfile=None).run(fmax=0.01)
        forces = evaluate(lennard_jones(), from_ase(atoms))["forces"]
        assert float(torch.linalg.vector_norm(forces, dim=1).max()) <= 0.0101
    driving.join(10)
    assert driving.ended is not None
    assert driving.ended.evaluations > 3


def test_charge_comes_from_the_template_and_open_directions_do_no_work() -> None:
    ion = molecule("OH")
    ion.info.update(charge=-1, spin=1)
    slab = fcc100("Cu", (1, 1, 3), vacuum=6.0)
    slab.rattle(0.05, seed=3)
    potential = small(charge="needs")
    cases = [
        (ion, potential, lambda v: not v.any()),
        (slab, lennard_jones(), lambda v: v[0, 0] != 0 and not v[2].any()),
    ]
    for atoms, model, sound in cases:
        energy, _, virial = one_answer(model, atoms, atoms.cell.array + 50 * np.eye(3) * ~atoms.pbc, atoms.positions)
        assert energy == pytest.approx(float(evaluate(model, from_ase(atoms))["energy"]), rel=1e-7)
        assert sound(virial)


@contextmanager
def listening() -> Iterator[tuple[socket.socket, Address]]:
    with socket.create_server(("localhost", 0)) as server:
        server.settimeout(20)
        yield server, Address(port=server.getsockname()[1])


def one_answer(
    potential: Potential, template: Atoms, cell: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Energy, forces and virial (eV, Å) by hand: with INIT, as i-PI begins, and EXIT, as it ends."""
    with listening() as (server, address):
        driving = Driving(potential, template, address)
        connection, _ = server.accept()
        wire = IPIProtocol(connection)
        assert wire.status() == "READY"
        wire.sendinit()
        wire.sendposdata(cell, np.linalg.pinv(cell), positions)
        assert wire.status() == "HAVEDATA"
        energy, forces, virial, extra = wire.sendrecv_force()
        assert bytes(extra).decode() == f"groundstate {potential.fingerprint()}"
        wire.end()
        driving.join(10)
        connection.close()
        assert driving.ended == Driven(1, "EXIT")
    return energy, forces, virial


def test_refusals() -> None:
    atoms = skewed()
    with pytest.raises(GroundstateError, match="E-SERVER-MISSING"):
        drive(lennard_jones(), from_ase(atoms), Address(port=free_port(), wait=0.0))
    for wrong in ({}, {"port": 1, "unix": "a"}, {"port": 70000}):
        with pytest.raises(GroundstateError, match="E-ADDRESS"):
            Address(**wrong)  # type: ignore[arg-type]
    with pytest.raises(GroundstateError, match="E-ONE-STRUCTURE"):
        api.drive([atoms, atoms], lennard_jones(), port=1)
    overlapping = atoms.positions.copy()
    overlapping[1] = overlapping[0] + 0.1
    talks = {
        "E-PROTOCOL": lambda wire: wire.sendmsg("HELLO"),
        "E-TEMPLATE": lambda wire: wire.sendposdata(atoms.cell.array, np.eye(3), atoms.positions[:2]),
        "E-ATOMS-CLOSE": lambda wire: wire.sendposdata(atoms.cell.array, np.eye(3), overlapping),
        "broke off": lambda wire: wire.sendmsg("POSDATA"),
    }
    for code, talk in talks.items():
        with listening() as (server, address):
            driving = Driving(lennard_jones(), atoms, address)
            connection, _ = server.accept()
            talk(IPIProtocol(connection))
            connection.shutdown(socket.SHUT_WR)
            driving.join(10)
            connection.close()
        assert driving.error is not None, code
        assert code in str(driving.error)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command drives ASE's server: from a file, with a model file, to the end."""
    checkpoint.save(small(), tmp_path / "m.safetensors")
    start = to_ase(crystal())[0]
    write(tmp_path / "start.extxyz", [Record(crystal())])
    port, codes = free_port(), []

    def command() -> None:
        words = ["drive", tmp_path / "start.extxyz", "--ipi", "--port", port, "--model", tmp_path / "m.safetensors"]
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in [*words, "--json"]])
        codes.append(ended.value.code)

    with SocketIOCalculator(port=port) as server:
        thread = threading.Thread(target=command, daemon=True)
        thread.start()
        start.calc = server
        expected = evaluate(small(), crystal(), ("energy",))["energy"]
        assert start.get_potential_energy() == pytest.approx(float(expected), rel=1e-7)
    thread.join(20)
    assert codes == [0]
    assert '"evaluations": 1' in capsys.readouterr().out
