"""The structures of `engine.cpp`, field by field."""

import ctypes

from groundstate.equivariant.generator.library import KernelSpec
from groundstate.equivariant.native import Library

MOST_LAYERS = 8

_integer, _double, _pointer = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class Structures:
    """`Layer`, `Model`, `Batch` and `Tape` for one shape: arrays by degree are as long as the shape has degrees."""

    def __init__(self, spec: KernelSpec) -> None:
        hidden, density = _pointer * (spec.hidden_lmax + 1), _pointer * (spec.lmax + 1)

        class Layer(ctypes.Structure):
            _fields_ = (
                ("table", _pointer),
                ("coefficients", _pointer),
                ("up", hidden),
                ("up_back", hidden),
                ("down", density),
                ("down_back", density),
                ("mix", hidden),
                ("mix_back", hidden),
                ("skip", _pointer),
                ("skip_back", _pointer),
                ("skip_degrees", _integer),
            )

        class Model(ctypes.Structure):
            _fields_ = (
                *((name, _integer) for name in ("layers", "classes", "intervals", "covalent", "fades", "holds")),
                *((name, _double) for name in ("cutoff", "fade_from", "fade_to", "bend", "closing")),
                ("pair_lengths", _pointer),
                ("hold_begins", _pointer),
                ("table_of_pair", _pointer),
                ("layer", Layer * MOST_LAYERS),
            )

        self.Model = Model

    def fit(self, library: Library) -> bool:
        """Whether the library was compiled with the same structures."""
        tell = library.engine_size_of
        tell.restype = _integer
        expected = (ctypes.sizeof(self.Model), ctypes.sizeof(Batch), ctypes.sizeof(Tape), MOST_LAYERS)
        return tuple(tell(_integer(i)) for i in range(4)) == expected


class Batch(ctypes.Structure):
    """Atoms and edges of one call."""

    _fields_ = (
        *((name, _integer) for name in ("atoms", "systems", "threads")),
        *((name, _pointer) for name in ("order", "rank", "classes", "ptr", "senders", "shifts", "system_of")),
        *((name, _pointer) for name in ("positions", "cell", "initial", "initial_sent", "initial_row")),
    )


class Tape(ctypes.Structure):
    """What the forward call leaves for the backward call."""

    _fields_ = tuple((name, _pointer * MOST_LAYERS) for name in ("A", "sent", "hidden", "features"))
