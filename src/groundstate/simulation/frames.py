"""One structure as text, in extended XYZ with every digit, so that what is read back is the same to the last bit."""

import json
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from groundstate.atoms import DataError, System
from groundstate.atoms.elements import symbols


def frame_text(
    system: System, columns: Mapping[str, Float[Tensor, "atom 3"]], facts: Mapping[str, str | float | int]
) -> str:
    """Extended XYZ of one structure: positions, further vectors per atom, and `facts` in the comment line."""
    properties = "species:S:1:pos:R:3" + "".join(f":{name}:R:3" for name in columns)
    comment = [f"Properties={properties}", 'pbc="' + " ".join("FT"[int(p)] for p in system.pbc[0]) + '"']
    if bool(system.cell.any()):
        lattice = " ".join(repr(float(x)) for x in system.cell[0].flatten())
        comment.insert(0, f'Lattice="{lattice}"')
    if system.charge is not None:
        comment.append(f"charge={float(system.charge[0])!r}")
    if system.multiplicity is not None:
        comment.append(f"spin={int(system.multiplicity[0])}")
    comment += [f"{name}={_fact(value)}" for name, value in facts.items()]
    rows = torch.cat([system.positions, *columns.values()], dim=1).tolist()
    lines = [
        f"{symbol} " + " ".join(map(repr, row))
        for symbol, row in zip(symbols(system.numbers.tolist()), rows, strict=True)
    ]
    return "\n".join([str(system.n_atoms), " ".join(comment), *lines]) + "\n"


def read_frame(text: str, like: System) -> tuple[System, list[Tensor]]:
    """The structure `like` at the positions and cell of a frame written by `frame_text`, and the further vectors."""
    lines = text.splitlines()
    if len(lines) != like.n_atoms + 2 or lines[0] != str(like.n_atoms):
        raise DataError("E-FRAME", "a stored frame does not fit its structure", fix="start again in an empty folder")
    values = torch.tensor([[float(x) for x in line.split()[1:]] for line in lines[2:]], dtype=torch.float64)
    positions, *columns = values.to(like.device).split(3, dim=1)
    cell = like.cell
    if lines[1].startswith("Lattice="):
        lattice = [float(x) for x in lines[1].split('"')[1].split()]
        cell = torch.tensor(lattice, dtype=torch.float64, device=like.device).reshape(1, 3, 3)
    return like.replace(positions=positions.contiguous(), cell=cell), [column.contiguous() for column in columns]


def _fact(value: str | float | int) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
