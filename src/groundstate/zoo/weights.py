"""Weights on this machine: found, fetched, and checked against the hash that the card or the first use fixed.

A hash that a primary source states is in the card. Where none does, the file is trusted on first use: its hash is
written down beside it, and another file under the same name is refused from then on.
Checked: tests/zoo/test_weights.py
"""

import hashlib
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from groundstate.atoms import ModelError, RunError
from groundstate.atoms.places import offline, user_folder
from groundstate.data.files import UNFINISHED, owned_folder, write_whole
from groundstate.zoo.catalogue import Card, WeightsFile, joint_hash

PINS = "pins.json"
Report = Callable[[int, int], None]
"""Bytes that are there, bytes in all (0 where the server does not say)."""
_BLOCK = 1 << 20


def models_folder() -> Path:
    """Where downloaded weights are kept: `GROUNDSTATE_MODELS`, or `models` in the user's cache folder."""
    named = os.environ.get("GROUNDSTATE_MODELS", "").strip()
    folder = Path(named).expanduser().absolute() if named else user_folder("models")
    if folder is None:
        raise RunError("E-NO-HOME", "this user has no folder for models", fix="set GROUNDSTATE_MODELS to a folder")
    return folder


def paths(card: Card, python: str | None) -> list[Path]:
    """Where the files of a card belong, whether they are there or not; `python`: the interpreter of its package."""
    if card.weights.source == "package":
        if python is None:
            return []
        return [package_folder(python) / file.name for file in card.weights.files]
    return [models_folder() / card.key / file.name for file in card.weights.files]


@cache
def package_folder(python: str) -> Path:
    """Where the packages of an interpreter are."""
    words = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    around = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=around, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError("E-EXTERNAL-PYTHON", f"'{python}' does not start", fix="name another interpreter") from error
    return Path(done.stdout.strip())


def located(card: Card, python: str | None) -> tuple[list[Path], str]:
    """The files of a card with their hash, verified; an unknown hash is fixed now.

    Raises ModelError E-WEIGHTS-MISSING with what to fetch and where to put it, E-WEIGHTS where a file is another.
    """
    found = paths(card, python)
    for path in found:
        if not path.is_file():
            raise ModelError(
                "E-WEIGHTS-MISSING",
                f"the weights of {card.id} are not on this machine",
                file=str(path),
                why="nothing is downloaded in passing",
                fix=how_to_get(card),
            )
    hashes = {file.name: _sha256(path) for file, path in zip(card.weights.files, found, strict=True)}
    _verify(card, hashes)
    if not card.weights.pinned:
        _pin(card, hashes)
    return found, joint_hash(hashes)


def pins(card: Card) -> dict[str, str]:
    """Hashes fixed on first use, by file name."""
    try:
        return dict(json.loads((models_folder() / card.key / PINS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def how_to_get(card: Card) -> str:
    """What a person does to have the weights, with or without a network."""
    weights, folder = card.weights, models_folder() / card.key
    if weights.source == "package":
        return f"run `groundstate models install {card.name} --reinstall`: the package that carries them is damaged"
    names = ", ".join(f"{f.name} ({f.url})" if f.url else f.name for f in weights.files)
    steps = f"run `groundstate models install {card.name}`, or without a network: get {names}"
    if weights.source == "request":
        steps = f"accept the terms at {weights.page}, get {names} there"
    one = len(weights.files) == 1
    offered = f"`groundstate models install {card.name} --offline-file FILE`" if one else "copy them there"
    return f"{steps}, and put it into {folder} ({offered})"


def fetch(card: Card, *, report: Report = lambda done, total: None) -> None:
    """Download what is missing, each file whole or not at all; a part that is there is continued.

    Raises RunError E-OFFLINE, E-DOWNLOAD, ModelError E-WEIGHTS, E-WEIGHTS-MISSING where no address is known.
    """
    folder = models_folder() / card.key
    with owned_folder(folder):
        for file in card.weights.files:
            target = folder / file.name
            if target.is_file():
                continue
            if not file.url:
                what = f"{file.name} is not here, and no public address of it is known"
                raise ModelError("E-WEIGHTS-MISSING", what, file=str(folder), fix=how_to_get(card))
            if offline():
                what = f"{file.name} is not here, and downloads are forbidden (OFFLINE)"
                raise RunError("E-OFFLINE", what, file=str(folder), fix=how_to_get(card))
            part = folder / f"{file.name}{UNFINISHED}"
            _download(file, part, report)
            _take(card, file, part)
            part.replace(target)
    located(card, None)


def bring(card: Card, source: Path, *, overwrite: bool = False) -> Path:
    """Copy a file that a person brought to where it belongs; its hash is checked first."""
    if card.weights.source == "package" or len(card.weights.files) != 1:
        raise RunError("E-WEIGHTS-FILE", f"{card.id} takes no single file", fix=how_to_get(card))
    file = card.weights.files[0]
    if not source.is_file():
        raise ModelError("E-MODEL-MISSING", "there is no such file", file=str(source), fix="check the path")
    folder = models_folder() / card.key
    with owned_folder(folder):
        target, part = folder / file.name, folder / f"{file.name}{UNFINISHED}"
        if target.exists() and not overwrite:
            raise RunError(
                "E-OUTPUT-EXISTS", f"{card.id} has its weights", file=str(target), fix="--overwrite replaces them"
            )
        shutil.copyfile(source, part)
        if overwrite:
            (folder / PINS).unlink(missing_ok=True)
        _take(card, file, part)
        part.replace(target)
    located(card, None)
    return target


def forget(card: Card) -> bool:
    """Remove the downloaded weights of a card and what was fixed about them."""
    folder = models_folder() / card.key
    if card.weights.source == "package" or not folder.is_dir():
        return False
    with owned_folder(folder):
        shutil.rmtree(folder)
    return True


def _download(file: WeightsFile, part: Path, report: Report) -> None:
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise RunError(
                    "E-DOWNLOAD",
                    f"{file.url} answered with a web page, not with {file.name}",
                    why="a login, a redirect or a proxy stands before it",
                    fix="open the address in a browser, and bring the file with --offline-file",
                )
            going_on = answer.status == 206
            total = int(answer.headers.get("Content-Length", 0)) + (there if going_on else 0)
            with part.open("ab" if going_on else "wb") as out:
                while block := answer.read(_BLOCK):
                    out.write(block)
                    report(out.tell(), total)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise RunError(
            "E-DOWNLOAD",
            f"{file.name} could not be fetched from {file.url} ({getattr(error, 'reason', error)})",
            fix="the same command goes on where it stopped; or bring the file with --offline-file",
        ) from error


def _take(card: Card, file: WeightsFile, part: Path) -> None:
    """Refuse a new file that is not the one of the card, and leave nothing of it."""
    try:
        _verify(card, {file.name: _sha256(part)})
    except ModelError:
        part.unlink()
        raise


def _verify(card: Card, hashes: Mapping[str, str]) -> None:
    recorded = pins(card)
    for file in card.weights.files:
        found, expected = hashes.get(file.name), file.sha256 or recorded.get(file.name, "")
        if found is not None and expected and found != expected:
            source = "the published ones" if file.sha256 else "those of the first use"
            raise ModelError(
                "E-WEIGHTS",
                f"the weights of {card.id} are not {source}: {found[:12]}, expected {expected[:12]}",
                file=file.name,
                why="results would not be those of the model named",
                fix="get the file again; weights that were replaced on purpose are brought with --offline-file FILE"
                " --overwrite",
            )


def _pin(card: Card, hashes: Mapping[str, str]) -> None:
    if pins(card) != dict(hashes):
        folder = models_folder() / card.key
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / PINS, json.dumps(dict(hashes), indent=1).encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
