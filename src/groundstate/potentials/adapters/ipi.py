"""A potential as a driver of i-PI: it connects to a server of that protocol and answers with energy, forces, virial.

i-PI itself, ASE's SocketIOCalculator and whatever else listens as they do. Messages are twelve ASCII characters;
numbers are in atomic units, float64 and int32 in the byte order of the machine; cells travel with lattice vectors as
columns. The virial is −∂E/∂ε = −V σ (Hartree), positive under compression, the opposite sign of the stress.
Source: Ceriotti, More, Manolopoulos, Comput. Phys. Commun. 185, 1019 (2014), and the documentation of i-PI's protocol.
Checked: tests/potentials/test_ipi.py (against ASE's server)
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from groundstate.atoms import Allowances, DataError, OptionError, RunError, System, VerletList, check, check_moved
from groundstate.atoms.units import BOHR, HARTREE
from groundstate.potentials.derive import evaluate, refuse_not_finite
from groundstate.potentials.potential import Potential

_HEADER = 12
_POLL = 0.1
"""s between attempts to reach a server that does not listen yet."""


@dataclass(frozen=True)
class Address:
    """Where the server listens: host and port, or the name of a Unix socket (`/tmp/ipi_NAME`, or a path with a `/`).

    wait   s to keep trying while nobody listens there
    """

    host: str = "localhost"
    port: int | None = None
    unix: str = ""
    wait: float = 30.0

    def __post_init__(self) -> None:
        if (self.port is None) == (not self.unix):
            raise OptionError(
                "E-ADDRESS",
                "a server has a port or the name of a Unix socket, one of them",
                fix="give --port or --unix",
            )
        if self.port is not None and not 0 < self.port < 65536:
            raise OptionError("E-ADDRESS", f"{self.port} is not a port", fix="give a number from 1 to 65535")

    @property
    def path(self) -> Path:
        """Of the Unix socket."""
        return Path(self.unix) if "/" in self.unix else Path(f"/tmp/ipi_{self.unix}")

    def __str__(self) -> str:
        return str(self.path) if self.unix else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Driven:
    """How a conversation ended: configurations answered; by the server's EXIT, or because it closed the connection."""

    evaluations: int
    ending: str


def drive(
    potential: Potential,
    template: System,
    address: Address,
    *,
    allow: Allowances | None = None,
    skin: float = 1.0,
    answered: Callable[[int, float], None] | None = None,
) -> Driven:
    """Answer a server until it ends the conversation.

    template   one structure: the protocol sends positions and cell only; elements, periods, charge, multiplicity and
               level of theory come from it, in the order of the server's atoms
    answered   called after each answer with its number and the energy, eV
    Raises RunError when nobody listens or what arrives is not the protocol, StructureError when the server sends atoms
    that no model may be asked about; the connection is closed and the server waits for another driver.
    A molecule or a slab gets the virial of its periodic directions, which for a molecule is zero.
    """
    if template.n_systems != 1:
        raise OptionError("E-ONE-STRUCTURE", "a driver answers for one structure", fix="give a file with one frame")
    check(template, potential.domain, allow)
    answer = _Answers(potential, template, allow, skin)
    with _connect(address) as connection:
        line, count, waiting = _Line(connection, address), 0, None
        while True:
            message = line.receive_message()
            if message in ("", "EXIT"):
                return Driven(count, "EXIT" if message else "connection closed")
            if message == "STATUS":
                line.send_message("READY" if waiting is None else "HAVEDATA")
            elif message == "INIT":
                line.receive(np.int32, 1)  # which bead; one driver answers for any
                line.receive(np.int8, int(line.receive(np.int32, 1)[0]))
            elif message == "POSDATA":
                waiting = answer.to(*line.receive_structure(template.n_atoms))
            elif message == "GETFORCE" and waiting is not None:
                line.send_answer(waiting, potential.fingerprint())
                count += 1
                if answered is not None:
                    answered(count, waiting.energy)
                waiting = None
            else:
                raise _garbled(address, f"'{message}' came where it has no meaning")


@dataclass(frozen=True, eq=False)
class _Answer:
    """eV, eV/Å, and the virial −∂E/∂ε in eV."""

    energy: float
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]


class _Answers:
    """The potential, asked about the template at other places."""

    def __init__(self, potential: Potential, template: System, allow: Allowances | None, skin: float) -> None:
        self.potential, self.template, self.allow = potential, template, allow
        self.neighbours = VerletList(potential.cutoff, skin)

    def to(self, cell: NDArray[np.float64], positions: NDArray[np.float64]) -> _Answer:
        """At these lattice vectors (rows) and positions, Å; open directions keep the template's."""
        device, given = self.template.device, torch.from_numpy(cell).to(self.template.device)
        system = self.template.replace(
            positions=torch.from_numpy(positions).to(device),
            cell=torch.where(self.template.pbc[0][:, None], given, self.template.cell[0])[None],
        )
        check_moved(system, self.potential.domain, self.allow, self.neighbours.reaching)
        want = ("energy", "forces", "strain_gradient")
        found = evaluate(self.potential, system, want, graph=self.neighbours.graph(system))
        refuse_not_finite(found, system)
        energy, forces, gradient = (found[name].cpu().double().numpy() for name in want)
        return _Answer(float(energy[0]), forces, -gradient[0])


class _Line:
    """The wire: whole messages and arrays, or the word that they broke off."""

    def __init__(self, connection: socket.socket, address: Address) -> None:
        self.connection, self.address = connection, address

    def receive_message(self) -> str:
        """The next message; empty when the server has gone."""
        first = self._bytes(_HEADER, may_end=True)
        try:
            return first.decode("ascii").strip().upper()
        except UnicodeDecodeError as error:
            raise _garbled(self.address, f"the bytes {first!r} are no message") from error

    def send_message(self, message: str) -> None:
        """Padded to its twelve characters."""
        self.connection.sendall(message.encode("ascii").ljust(_HEADER))

    def receive(self, kind: type[np.number], count: int) -> NDArray[Any]:
        """An array of the wire."""
        return np.frombuffer(self._bytes(np.dtype(kind).itemsize * count), dtype=kind)

    def receive_structure(self, n_atoms: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lattice vectors as rows and positions, Å."""
        cell = self.receive(np.float64, 9).reshape(3, 3).T * BOHR
        self.receive(np.float64, 9)  # the inverse cell, which says nothing new
        count = int(self.receive(np.int32, 1)[0])
        if count != n_atoms:
            raise DataError(
                "E-TEMPLATE",
                f"the server sends {count} atoms and the template has {n_atoms}",
                why="which atom is which element comes from the template",
                fix="start the server and this driver from the same structure",
            )
        return np.ascontiguousarray(cell), self.receive(np.float64, 3 * count).reshape(count, 3) * BOHR

    def send_answer(self, answer: _Answer, model: str) -> None:
        """FORCEREADY, energy, forces, virial, and the model's id as the extra text that i-PI stores."""
        extra = f"groundstate {model}".encode("ascii")
        self.send_message("FORCEREADY")
        self.connection.sendall(
            np.float64(answer.energy / HARTREE).tobytes()
            + np.int32(len(answer.forces)).tobytes()
            + np.ascontiguousarray(answer.forces * (BOHR / HARTREE)).tobytes()
            + np.ascontiguousarray(answer.virial.T / HARTREE).tobytes()
            + np.int32(len(extra)).tobytes()
            + extra
        )

    def _bytes(self, count: int, *, may_end: bool = False) -> bytes:
        parts, missing = [], count
        while missing:
            try:
                part = self.connection.recv(missing)
            except ConnectionError:
                part = b""
            if not part and may_end and missing == count:
                return b""
            if not part:
                raise _garbled(self.address, f"the connection broke off {missing} bytes before the end of a message")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _connect(address: Address) -> socket.socket:
    deadline = time.monotonic() + address.wait
    while True:
        try:
            if address.unix:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    connection.connect(str(address.path))
                except OSError:
                    connection.close()
                    raise
                return connection
            connection = socket.create_connection((address.host, address.port or 0))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            if time.monotonic() >= deadline:
                raise RunError(
                    "E-SERVER-MISSING",
                    f"nobody listens at {address} ({error.strerror or error})",
                    why=f"tried for {address.wait:g} s",
                    fix="start the server (i-pi input.xml) first, and compare its <address> and <port>",
                ) from error
            time.sleep(_POLL)


def _garbled(address: Address, what: str) -> RunError:
    return RunError(
        "E-PROTOCOL", f"{address} does not speak i-PI's protocol: {what}", fix="check that a server of it listens there"
    )
