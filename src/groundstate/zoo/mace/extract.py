"""Writes what a MACE checkpoint holds as plain arrays: `python extract.py FILE OUTPUT.npz`, where mace-torch is.

A checkpoint of mace-torch is a pickle, and reading a pickle runs whatever code it carries. So this file stands alone:
it runs under the interpreter that has mace-torch, in another process, and imports nothing of groundstate. It knows
nothing of the architecture either; `architecture.py` reads what it writes:

    one array for each tensor of the state, under its name, but for the constants of compiled code
    "document": JSON with the versions, and for each module its class and those of its attributes that are plain

Exit codes: 0 done · 3 no mace-torch here · 4 the file does not load · 5 what it holds is no module.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

NO_PACKAGE, UNREADABLE, NO_MODULE = 3, 4, 5


def plain(value: Any) -> list[Any]:
    """The value as JSON can hold it, in a list of one; an empty list where it cannot."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return [value]
    if type(value).__name__ in ("Irreps", "Irrep"):
        return [str(value)]
    if isinstance(value, (list, tuple)) and all(isinstance(entry, (int, float, str)) for entry in value):
        return [list(value)]
    if hasattr(value, "enabled"):  # settings of an accelerated layout
        return [{"enabled": bool(value.enabled)}]
    if getattr(value, "shape", None) == ():  # a number of numpy or torch
        return [value.item()]
    return [value.__name__] if hasattr(value, "__name__") else []


def modules(model: Any) -> dict[str, dict[str, Any]]:
    """Class and plain attributes of every module by its path; generated code is left out."""
    found = {}
    for path, module in model.named_modules():
        if not generated(path):
            public = {
                name: plain(value)
                for name, value in vars(module).items()
                if not name.startswith("_") and name != "training"
            }
            found[path] = {"class": type(module).__name__, **{name: kept[0] for name, kept in public.items() if kept}}
    return found


def generated(path: str) -> bool:
    """Whether a part of the model is code that its own constructor wrote."""
    return any(part.startswith(("_compiled", "graph_opt", "contractions_")) for part in path.split("."))


def main(source: str, target: str) -> int:
    """Exit code of the extraction."""
    try:
        import mace
        import numpy as np
        import torch
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        return NO_PACKAGE
    try:
        model = torch.load(source, map_location="cpu", weights_only=False)
    except Exception as error:  # noqa: BLE001 — whatever unpickling meets, the caller tells it as one refusal
        sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n")
        return UNREADABLE
    if not isinstance(model, torch.nn.Module):
        sys.stderr.write(f"a {type(model).__name__}\n")
        return NO_MODULE
    document = {
        "versions": {"mace-torch": mace.__version__, "torch": torch.__version__},
        "modules": modules(model),
    }
    arrays = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items() if not generated(name)}
    np.savez(target, document=np.array(json.dumps(document)), **arrays)
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1], sys.argv[2]))
