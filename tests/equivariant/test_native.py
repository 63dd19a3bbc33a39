"""Libraries of kernels, with plans of two functions: compiled, filed, found again, refused when they are not whole."""

import copy
import ctypes
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from groundstate.equivariant.native import (
    Library,
    Plan,
    Target,
    Unavailable,
    best_target,
    find,
    store,
    supported_targets,
)
from groundstate.equivariant.native import target as target_module
from groundstate.equivariant.native.build import BuildError, build_all, requested_targets
from groundstate.equivariant.native.compiler import Compiler, find_compiler
from groundstate.equivariant.native.report import report

ROOT = Path(__file__).parents[2]

needs_compiler = pytest.mark.skipif(
    not isinstance(find_compiler(), Compiler) or not supported_targets(), reason="compiles C++ for this machine"
)

SOURCE = """\
#include "offset.hpp"
extern "C" double add(double a, double b) { return a + b + OFFSET; }
"""
WIDTH = 'extern "C" int width() { return %d; }\n'


def adding(offset: float = 0.0, name: str = "adding") -> Plan:
    """A plan of its own at each call, so that nothing is remembered within this process."""

    def sources(target: Target) -> Mapping[str, str]:
        header = f"#pragma once\nconstexpr double OFFSET = {offset!r};\n"
        return {"offset.hpp": header, "add.cpp": SOURCE, "width.cpp": WIDTH % target.vector_bytes}

    return Plan(name, sources)


def add(library: Library | Unavailable) -> float:
    assert isinstance(library, Library), library
    library.add.restype = ctypes.c_double
    library.add.argtypes = [ctypes.c_double, ctypes.c_double]
    return float(library.add(1.0, 2.0))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GROUNDSTATE_NATIVE", "GROUNDSTATE_TARGET", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROUNDSTATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "PREBUILT", tmp_path / "prebuilt")
    return tmp_path / "cache" / "kernels"


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def put_in_place(file: Path, content: bytes) -> None:
    """By renaming: the file that was there may be mapped in this process."""
    new = file.with_name("new")
    new.write_bytes(content)
    os.replace(new, file)


@needs_compiler
def test_compiled_once_then_from_the_cache(cache: Path) -> None:
    heard: list[str] = []
    plan = adding()
    first = find(plan, progress=heard.append)
    assert add(first) == 3.0
    assert isinstance(first, Library)
    assert (first.origin, first.target, first.plan_name) == ("compiled", best_target(), "adding")
    assert first.path.parent == cache
    assert first.width() == best_target().vector_bytes
    assert first.notes == ()
    assert len(heard) == 1
    assert "adding" in heard[0]
    assert find(plan) is first
    again = find(adding(), progress=heard.append)
    assert add(again) == 3.0
    assert isinstance(again, Library)
    assert (again.origin, len(heard)) == ("cached", 1)
    assert add(find(adding(offset=0.5))) == 3.5  # other sources under the same name are another library
    assert copy.deepcopy(first) is first
    with pytest.raises(AttributeError, match="no function 'subtract'"):
        _ = first.subtract


@needs_compiler
def test_each_instruction_set_has_its_library() -> None:
    for target in supported_targets():
        library = find(adding(), target=target)
        assert isinstance(library, Library)
        assert library.width() == target.vector_bytes


@needs_compiler
@pytest.mark.parametrize("damage", ["truncated", "foreign", "stale", "unreadable", "lost"])
def test_a_file_that_is_not_whole_is_replaced(cache: Path, damage: str) -> None:
    """None of these may be loaded: a truncated library would kill the process, a foreign one give wrong numbers."""
    library = find(adding())
    assert isinstance(library, Library)
    manifest = only(cache, "adding-*.json")
    entry = json.loads(manifest.read_text())
    if damage == "truncated":
        put_in_place(library.path, library.path.read_bytes()[:5000])
    elif damage == "foreign":  # another library, whole, with a manifest that fits its content
        other = find(adding(offset=7.0, name="other"))
        assert isinstance(other, Library)
        manifest.write_text(json.dumps({**entry, "file": other.path.name, "sha256": store.checksum(other.path)}))
    elif damage == "stale":
        manifest.write_text(json.dumps({**entry, "identity": "0" * 64 + ":" + library.target.name}))
    elif damage == "unreadable":
        manifest.write_text('{"plan": ')
    else:
        library.path.unlink()
    again = find(adding())
    assert add(again) == 3.0
    assert isinstance(again, Library)
    assert again.origin == "compiled"
    assert len(again.notes) == 1
    assert again.notes[0].startswith("cached library not used")
    third = find(adding())
    assert isinstance(third, Library)
    assert (third.origin, third.notes) == ("cached", ())


@needs_compiler
def test_a_cache_that_cannot_be_written_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GROUNDSTATE_CACHE", str(tmp_path / "file"))
    library = find(adding())
    assert add(library) == 3.0
    assert isinstance(library, Library)
    assert "cannot be written" in library.notes[0]
    assert tmp_path not in library.path.parents


@needs_compiler
def test_a_read_only_cache_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find(adding())
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != cache and access(path, mode))
    library = find(adding(), check=lambda library: None, remember="sums")
    assert isinstance(library, Library)
    assert library.origin == "cached"
    other = find(adding(offset=0.25))
    assert add(other) == 3.25
    assert isinstance(other, Library)
    assert "cannot be written" in other.notes[0]


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find(adding())
    if supported_targets():
        assert isinstance(found, Unavailable)
        assert "no C++ compiler" in found.reason
        assert "apt install g++" in found.fix
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    compiler = find_compiler()
    assert isinstance(compiler, Unavailable)
    assert "no-such-compiler" in compiler.reason
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 1\n")
    silent.chmod(0o755)
    monkeypatch.setenv("CXX", str(silent))
    compiler = find_compiler()
    assert isinstance(compiler, Unavailable)
    assert "--version" in compiler.reason


@needs_compiler
def test_without_a_compiler_what_is_at_hand_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    least = supported_targets()[-1]
    build_all([adding(name="carried")], [least], tmp_path / "prebuilt", lambda line: None)
    find(adding())
    monkeypatch.setenv("PATH", str(tmp_path))
    cached = find(adding())
    assert isinstance(cached, Library)
    assert cached.origin == "cached"
    carried = find(adding(name="carried"))
    assert add(carried) == 3.0
    assert isinstance(carried, Library)
    assert (carried.origin, carried.target) == ("prebuilt", least)
    if least != best_target():  # an instruction set that was asked for is not traded
        assert isinstance(find(adding(name="carried"), target=best_target()), Unavailable)


@needs_compiler
def test_the_package_comes_before_the_cache(tmp_path: Path) -> None:
    find(adding())
    build_all([adding()], [best_target()], tmp_path / "prebuilt", lambda line: None)
    library = find(adding())
    assert isinstance(library, Library)
    assert library.origin == "prebuilt"
    put_in_place(library.path, b"")
    library = find(adding())
    assert isinstance(library, Library)
    assert library.origin == "cached"
    assert "prebuilt library not used" in library.notes[0]


@needs_compiler
def test_what_the_compiler_refuses_is_kept(cache: Path) -> None:
    heard: list[str] = []
    for _ in range(2):
        found = find(Plan("wrong", lambda target: {"wrong.cpp": "int here = missing;\n"}), progress=heard.append)
        assert isinstance(found, Unavailable)
        assert "wrong.cpp:1" in found.reason
        assert "missing" in found.reason
        assert "-O3" in found.reason
        assert "\n" not in found.reason
        kept = only(cache / "refused", "*")
        assert str(kept) in found.fix
        assert (kept / "wrong.cpp").read_text() == "int here = missing;\n"


@needs_compiler
def test_what_cannot_be_loaded_is_told() -> None:
    source = 'extern "C" int absent(); extern "C" int call() { return absent(); }\nint now = absent();\n'
    found = find(Plan("unresolved", lambda target: {"unresolved.cpp": source}))
    assert isinstance(found, Unavailable)
    assert "absent" in found.reason


@needs_compiler
def test_self_test() -> None:
    seen: list[Library] = []

    def sums(library: Library) -> str | None:
        seen.append(library)
        return None if add(library) == 3.0 else f"1 + 2 is {add(library)}"

    plan = adding()
    assert find(plan, check=sums) is find(plan, check=sums)
    assert len(seen) == 1
    find(adding(), check=sums)  # another process would come here: it checks again,
    assert len(seen) == 2
    find(adding(), check=sums, remember="sums-1")
    find(adding(), check=sums, remember="sums-1")  # unless the pass was remembered under a name
    assert len(seen) == 3
    find(adding(), check=sums, remember="sums-2")
    assert len(seen) == 4
    for _ in range(2):  # a failure is not remembered
        found = find(adding(offset=1.0), check=sums, remember="sums-1")
        assert isinstance(found, Unavailable)
        assert "self-test failed: 1 + 2 is 4.0" in found.reason
    assert len(seen) == 6

    def raises(library: Library) -> str | None:
        raise ArithmeticError("not a number")

    found = find(adding(), check=raises)
    assert isinstance(found, Unavailable)
    assert "self-test failed: ArithmeticError: not a number" in found.reason


def test_plan_names_make_file_names() -> None:
    with pytest.raises(ValueError, match="KERNEL_PLAN_NAME"):
        adding(name="../adding")


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDSTATE_NATIVE", "off")
    found = find(adding())
    assert isinstance(found, Unavailable)
    assert "GROUNDSTATE_NATIVE=off" in found.reason
    monkeypatch.setenv("GROUNDSTATE_NATIVE", "perhaps")
    with pytest.raises(ValueError, match="KERNEL_SWITCH"):
        find(adding())


V3 = "fpu sse sse2 avx avx2 bmi1 bmi2 f16c fma movbe"
V4 = V3 + " avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("machine", "flags", "names"),
    [
        ("x86_64", V4, ["avx512", "avx2", "sse"]),
        ("x86_64", V3 + " avx512f", ["avx2", "sse"]),
        ("AMD64", "fpu sse sse2 avx", ["sse"]),
        ("aarch64", "", ["neon"]),
        ("arm64", "", ["neon"]),
        ("riscv64", "", []),
    ],
)
def test_instruction_sets_of_a_cpu(monkeypatch: pytest.MonkeyPatch, machine: str, flags: str, names: list[str]) -> None:
    monkeypatch.setattr(target_module.platform, "machine", lambda: machine)
    monkeypatch.setattr(target_module, "_cpu_features", lambda system: frozenset(flags.split()))
    assert [target.name for target in supported_targets()] == names
    if names:
        assert best_target().name == names[0]
    else:
        with pytest.raises(ValueError, match="KERNEL_TARGET_NONE"):
            best_target()
        found = find(adding())
        assert isinstance(found, Unavailable)
        assert "riscv64" in found.reason
    monkeypatch.setenv("GROUNDSTATE_TARGET", "avx1024")
    with pytest.raises(ValueError, match=r"KERNEL_TARGET_UNKNOWN.*avx512, avx2, sse, neon"):
        find(adding())
    monkeypatch.setenv("GROUNDSTATE_TARGET", "avx512")
    if "avx512" in names:
        assert best_target().name == "avx512"
    else:
        with pytest.raises(ValueError, match="KERNEL_TARGET_UNSUPPORTED"):
            best_target()
        with pytest.raises(ValueError, match="KERNEL_TARGET_UNSUPPORTED"):
            find(adding(), target=target_module.TARGETS["avx512"])


def test_cpu_features_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_module, "_sysctl", lambda *names: "FPU SSE AVX1.0 FMA F16C MOVBE\nBMI1 AVX2 BMI2")
    assert set(V3.split()) - {"sse2"} == target_module._cpu_features.__wrapped__("Darwin")


TWO = """
import ctypes, sys
from groundstate.equivariant.native import Plan, find
source = 'extern "C" int answer() { return 42; }'
library = find(Plan("shared", lambda target: {f"unit{i}.cpp": source if i == 0 else "" for i in range(3)}))
assert library.answer() == 42 and not library.notes, library
assert "torch" not in sys.modules
"""


@needs_compiler
def test_processes_compile_the_same_at_once(cache: Path) -> None:
    running = [subprocess.Popen([sys.executable, "-c", TWO]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert store.checksum(only(cache, "shared-*.so")) == store.listing(cache)[0].sha256
    assert not list(cache.glob(".*"))


@needs_compiler
def test_report(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_all([adding(name="carried")], [best_target()], tmp_path / "prebuilt", lambda line: None)
    find(adding())
    (cache / "damaged.json").write_text("[]")
    rows = {row["name"]: row for row in report([adding(), adding(name="later")])}
    assert rows["later"]["state"] == "compiled when first used"
    assert rows["native kernels"]["state"] == "on"
    assert rows["instruction set"]["state"].startswith(best_target().name)
    assert rows["kernel cache"]["state"] == str(cache)
    assert rows["carried"]["state"].startswith("prebuilt for")
    assert rows["adding"]["state"].startswith("cached for")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("GROUNDSTATE_NATIVE", "off")
    monkeypatch.setenv("GROUNDSTATE_TARGET", "avx1024")
    rows = {row["name"]: row for row in report()}
    assert rows["native kernels"]["state"].startswith("off: ")
    assert rows["compiler"]["fix"].startswith("Install one")
    assert "avx1024" in rows["instruction set"]["state"]
    monkeypatch.setenv("GROUNDSTATE_NATIVE", "perhaps")
    assert "KERNEL_SWITCH" in report()[0]["state"]


def test_requested_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_module.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(target_module, "_cpu_features", lambda system: frozenset(V3.split()))
    names = {words: [t.name for t in requested_targets(words)] for words in ("best", "all", "none", "avx512, sse")}
    assert names == {
        "best": ["avx2"],
        "all": ["avx512", "avx2", "sse"],
        "none": [],
        "avx512, sse": ["avx512", "sse"],
    }
    with pytest.raises(ValueError, match="KERNEL_TARGET_UNKNOWN"):
        requested_targets("neon")
    assert build_all([], requested_targets("all"), Path("nowhere"), print) == []
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="no C\\+\\+ compiler"):
        build_all([adding()], requested_targets("best"), Path("nowhere"), print)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with our setup.py and nothing but the loader and one standard plan."""
    project = tmp_path / "project"
    package = project / "src" / "groundstate"
    native = package / "equivariant" / "native"
    shutil.copytree(ROOT / "src" / "groundstate" / "equivariant" / "native", native)
    shutil.rmtree(native / "prebuilt", ignore_errors=True)
    engine = package / "potentials" / "mace" / "engine"
    engine.mkdir(parents=True)
    (native.parent / "__init__.py").write_text("")
    for folder in (package, engine.parents[1], engine.parent, engine):  # what these ask for is not there in a build
        (folder / "__init__.py").write_text("raise ImportError('no torch, and nothing is installed')\n")
    (engine / "standard.py").write_text(
        "from groundstate.equivariant.native.plan import Plan\n"
        "def standard_plans():\n"
        "    source = 'extern \"C\" int answer() { return 42; }'\n"
        "    return (Plan('standard', lambda target: {'answer.cpp': source}),)\n"
    )
    shutil.copy(ROOT / "setup.py", project)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "groundstate"\nversion = "0"\n[tool.setuptools.packages.find]\nwhere = ["src"]\n'
    )
    return project


def wheel(project: Path, **environment: str) -> tuple[str, list[str], str]:
    """Tag and kernels of the wheel that setup.py makes, and what it says; an empty tag where it fails."""
    run = subprocess.run(
        [sys.executable, "setup.py", "bdist_wheel", "--dist-dir", "made"],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if run.returncode:
        return "", [], run.stderr
    made = only(project / "made", "*.whl")
    with zipfile.ZipFile(made) as archive:
        names = [name for name in archive.namelist() if name.startswith("groundstate/equivariant/native/prebuilt/")]
        metadata = next(name for name in archive.namelist() if name.endswith("/WHEEL"))
        words = archive.read(metadata).decode()
    tag = made.stem.removeprefix("groundstate-0-")
    assert f"Tag: {tag}" in words
    assert f"Root-Is-Purelib: {str(tag.endswith('any')).lower()}" in words
    made.unlink()
    return tag, names, run.stderr


@needs_compiler
def test_a_wheel_with_kernels_is_for_its_platform_and_every_python(project: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    tag, kernels, said = wheel(project, GROUNDSTATE_BUILD_TARGETS="all")
    assert tag.startswith("py3-none-"), said
    assert not tag.endswith("any")
    assert sum(name.endswith(".so") for name in kernels) == len(requested_targets("all"))
    assert sum(name.endswith(".json") for name in kernels) == len(requested_targets("all"))
    # The same folder again, now without a compiler: what was built before is not taken along.
    tag, kernels, said = wheel(project, CXX="no-such-compiler")
    assert (tag, kernels) == ("py3-none-any", [])
    assert "no kernels are built in: CXX names 'no-such-compiler'" in said
    tag, _, said = wheel(project, CXX="no-such-compiler", GROUNDSTATE_BUILD_TARGETS="best")
    assert tag == ""
    assert "no-such-compiler" in said
