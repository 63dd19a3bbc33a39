"""Documents that speak of the code are held to it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_errors_is_what_the_source_says() -> None:
    spec = importlib.util.spec_from_file_location("make_errors", ROOT / "docs" / "make_errors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == module.page(), "run python docs/make_errors.py"


def test_importing_the_package_imports_nothing_heavy_and_changes_nothing() -> None:
    program = (
        "import sys, groundstate;"
        "heavy = {'torch', 'ase', 'numpy', 'matplotlib'} & set(sys.modules); assert not heavy, heavy;"
        "import torch, warnings; before = (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed(),"
        " list(warnings.filters)); import groundstate.api, groundstate.cli;"
        "after = (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed(), list(warnings.filters));"
        "assert before[:3] == after[:3], (before, after)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)


def test_every_room_of_the_house_is_in_its_document() -> None:
    house = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
    rooms = [
        path.name for path in (ROOT / "src" / "groundstate").iterdir() if path.is_dir() and path.name[0] not in "._"
    ]
    assert len(rooms) >= 10
    assert all(f"`{room}`" in house for room in rooms)
