"""The far side of the pipe: serves one driver, under any interpreter that has numpy. Imports nothing of groundstate.

    python worker.py driver.py

A message is its length (8 bytes, little-endian) and an npz file: arrays, and a JSON document called `header`. What the
driver or its libraries print goes to standard error; standard output carries messages only. A driver is one Python file
with

    start(settings) -> compute(structures, want) -> answers

settings    what JSON can say
structures  a list of dicts of arrays: `numbers` [atom], `positions` Å [atom, 3], `cell` Å [3, 3] rows, `pbc` [3], and
            where given `charge` e, `multiplicity` 2S+1
want        names of quantities
answers     for each structure a dict of arrays under names and units of the table of quantities, or an exception that
            condemns this structure alone; its attribute `code`, where it has one, becomes the code of the refusal
`compute.facts`, where it exists, is a dict that says what computes: versions, hashes. `start` may raise, too.
"""

import contextlib
import importlib.util
import io
import json
import os
import struct
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np


def send(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write one message."""
    buffer = io.BytesIO()
    document = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(buffer, header=document, **named)
    content = buffer.getvalue()
    stream.write(struct.pack("<Q", len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: BinaryIO) -> "tuple[dict[str, Any], dict[str, Any]] | None":
    """Read one message; None when the other side is gone."""
    length = stream.read(8)
    if len(length) < 8:
        return None
    (size,) = struct.unpack("<Q", length)
    content = stream.read(size)
    if len(content) < size:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return json.loads(arrays.pop("header").tobytes().decode()), arrays


def structures_of(arrays: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """The structures of a request, cut out of the batch."""
    ptr = arrays["system_ptr"]
    rows = []
    for s in range(len(ptr) - 1):
        atoms = slice(int(ptr[s]), int(ptr[s + 1]))
        one = {name: arrays[name][atoms] for name in ("numbers", "positions")}
        one.update({name: arrays[name][s] for name in ("cell", "pbc", "charge", "multiplicity") if name in arrays})
        rows.append(one)
    return rows


def told(error: BaseException) -> "dict[str, str]":
    """An exception as a header can carry it."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    what = str(error) or type(error).__name__
    return {"code": str(getattr(error, "code", "")), "what": f"{type(error).__name__}: {what}", "trace": trace}


def serve(driver: str, inbox: BinaryIO, outbox: BinaryIO) -> None:
    """Answer requests until the other side closes the pipe."""
    first = receive(inbox)
    if first is None:
        return
    settings = first[0]
    try:
        spec = importlib.util.spec_from_file_location("groundstate_driver", driver)
        if spec is None or spec.loader is None:
            raise ImportError(f"'{driver}' is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        compute = module.start(settings)
    except BaseException as error:  # noqa: BLE001 — whatever it is, the other side must hear of it
        send(outbox, {"error": told(error)}, {})
        return
    send(outbox, {"facts": getattr(compute, "facts", {})}, {})
    while (request := receive(inbox)) is not None:
        header, arrays = request
        structures = structures_of(arrays)
        try:
            answers = compute(structures, header["want"])
            if len(answers) != len(structures):
                raise RuntimeError(f"the driver gave {len(answers)} answers to {len(structures)} structures")
        except Exception as error:  # noqa: BLE001 — one batch that fails must not end the process
            answers = [error] * len(structures)
        errors = [told(answer) if isinstance(answer, BaseException) else None for answer in answers]
        results = {
            f"{s}.{name}": value
            for s, answer in enumerate(answers)
            if not isinstance(answer, BaseException)
            for name, value in answer.items()
        }
        send(outbox, {"errors": errors}, results)


def _leave_with(parent: int) -> None:
    """End when the process that asks is gone: a killed run must not leave calculations behind."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _main() -> None:
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    # The folder of this file holds modules whose names a library might import for its own.
    sys.path[:] = sys.path[1:]
    if hasattr(os, "getppid"):
        threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        serve(sys.argv[1], inbox, outbox)


if __name__ == "__main__":
    _main()
