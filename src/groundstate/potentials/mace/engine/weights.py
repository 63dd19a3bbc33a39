"""A trunk's parameters as the engine reads them: folded, scaled, packed."""

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native import Library
from groundstate.equivariant.operators import radial_table
from groundstate.potentials.mace.engine.structures import Structures
from groundstate.potentials.mace.passing import folded
from groundstate.potentials.mace.radial import BEND, CLOSING, FADE_FROM, FADE_TO

if TYPE_CHECKING:
    from groundstate.potentials.mace.trunk import Layer, MACETrunk


class Weights:
    """One state of a trunk's parameters; `model` is the structure of the engine, which points into `_kept`.

    initial   features of each class before the first layer, and what is sent of them
    classes   whose pairs of elements have tables; other pairs must not be asked for
    """

    def __init__(self, trunk: "MACETrunk", spec: KernelSpec, library: Library, classes: Sequence[int]) -> None:
        self._library, self._spec = library, spec
        self._dtype = getattr(torch, spec.dtype)
        self._kept: list[Tensor] = []
        config, functions, tables = trunk.config, trunk.radial_functions, trunk.tables
        assert tables is not None
        n = len(trunk.embedding)
        with torch.no_grad():
            chosen, table_of_pair = _tables(functions.get_buffer("table_of_pair").view(n, n), classes)
            self.model = model = Structures(spec).Model()
            model.layers, model.classes, model.intervals = len(trunk.layers), n, tables.intervals
            model.covalent = config.distance_transform == "covalent"
            model.fades, model.cutoff = config.fade_at_contact, config.cutoff
            model.fade_from, model.fade_to, model.bend = FADE_FROM, FADE_TO, BEND
            model.holds, model.closing = functions.hold is not None, CLOSING
            if functions.hold is not None:
                model.hold_begins = self._at(functions.hold.begins().double())
            model.pair_lengths = self._at(functions.transform.sums)
            model.table_of_pair = self._at(table_of_pair.to(torch.int32))
            layers = cast("list[Layer]", list(trunk.layers))
            (up,) = layers[0].up.weights
            self._up = up.detach() / len(up) ** 0.5
            embedding = trunk.embedding.detach().contiguous()
            self.initial = (embedding, self.send(embedding))
            for t, layer in enumerate(layers):
                table = radial_table(tables(layer.radial, chosen))
                self._fill(model.layer[t], layer, table, torch.arange(n))

    def send(self, features: Tensor) -> Tensor:
        """What the first layer sends of features [row, channel]."""
        return (features @ self._up).contiguous()

    def _fill(self, into: Any, layer: "Layer", table: Tensor, classes: Tensor) -> None:
        into.table = self._at(table.to(self._dtype))
        into.coefficients = self._at(folded(self._spec, layer, classes).to(self._dtype))
        for l, weight in enumerate(layer.up.weights):
            into.up[l], into.up_back[l] = self._both(weight / len(weight) ** 0.5)
        for l, weight in enumerate(layer.mix.weights):
            into.mix[l], into.mix_back[l] = self._both(weight / len(weight) ** 0.5)
        for l, weight in enumerate(layer.down.weights):
            scaled = weight / (len(weight) ** 0.5 * layer.average)
            into.down[l] = self._pack([scaled])
            into.down_back[l] = self._pack(list(scaled.split(self._spec.channels)), transposed=True)
        if layer.skip is not None:
            scaled = layer.skip.weight / self._spec.channels**0.5
            into.skip_degrees = scaled.shape[1]
            matrices = list(scaled.flatten(0, 1))
            into.skip, into.skip_back = self._pack(matrices), self._pack(matrices, transposed=True)

    def _both(self, matrix: Tensor) -> tuple[int, int]:
        return self._pack([matrix]), self._pack([matrix], transposed=True)

    def _pack(self, matrices: Sequence[Tensor], *, transposed: bool = False) -> int:
        """Matrices [inner, channels], or their transposes, packed one after the other; the address of the first."""
        packed = torch.empty(sum(m.numel() for m in matrices), dtype=self._dtype)
        start = packed.data_ptr()
        for matrix in matrices:
            plain = matrix.to(self._dtype).contiguous()
            inner = ctypes.c_int64(plain.shape[0])
            addresses = ctypes.c_void_p(plain.data_ptr()), ctypes.c_void_p(start)
            self._library.engine_pack(addresses[0], inner, ctypes.c_int64(transposed), addresses[1])
            start += plain.numel() * plain.element_size()
        return self._at(packed)

    def _at(self, tensor: Tensor) -> int:
        """Its address; it lives as long as this object."""
        self._kept.append(tensor.detach().contiguous())
        return self._kept[-1].data_ptr()


def _tables(table_of_pair: Tensor, classes: Sequence[int]) -> tuple[list[int], Tensor]:
    """Tables of all pairs of the classes, and for each pair of the model the place of its table among them."""
    among = table_of_pair[torch.tensor(classes)][:, torch.tensor(classes)]
    chosen = torch.unique(among).tolist()
    place = torch.zeros(int(table_of_pair.max()) + 1, dtype=torch.int64)
    place[chosen] = torch.arange(len(chosen))
    return chosen, place[table_of_pair]
