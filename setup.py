"""Builds the package together with its native kernels, where a C++ compiler is found.

`GROUNDSTATE_BUILD_TARGETS` says for which instruction sets: `best` of this CPU (what an installation needs, and the
default), `all` of its architecture (what a wheel for others needs), `none`, or names separated by commas. Without it,
kernels that cannot be built are told and left out: they are compiled when first used, or torch computes the same. With
it, they are an error. An editable installation compiles nothing.
"""

import os
import shutil
import sys
import types
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).parent / "src"
ENGINE = "groundstate.potentials.mace.engine"
KERNELS = Path("groundstate", "equivariant", "native", "prebuilt")


class build_py_with_kernels(build_py):  # noqa: N801 - setuptools names its commands so
    """Copies the package and puts compiled kernels beside it."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / KERNELS
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build in the same place
        wanted = os.environ.get("GROUNDSTATE_BUILD_TARGETS", "").strip()
        try:
            build_kernels(folder, wanted or "best")
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            if wanted:
                raise
            sys.stderr.write(f"groundstate: no kernels are built in: {error}\n")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        kernels = (Path(self.build_lib) / KERNELS).glob("*")
        return [*super().get_outputs(include_bytecode), *map(str, kernels)]


class bdist_wheel_with_kernels(bdist_wheel):  # noqa: N801
    """Tags a wheel that carries kernels with its platform, but for every Python: nothing in it links to Python."""

    def run(self) -> None:
        if not self.skip_build:
            self.run_command("build")
        built = Path(self.get_finalized_command("build_py").build_lib) / KERNELS
        self.root_is_pure = not any(built.glob("*.so"))
        if not self.root_is_pure:  # so that files go to the root of the wheel, where tools look for libraries
            self.distribution.has_ext_modules = lambda: True
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        tag = super().get_tag()
        return tag if self.root_is_pure else ("py3", "none", tag[2])


def build_kernels(folder: Path, wanted: str) -> None:
    """Compiles the standard plans into `folder`."""
    # The __init__ of these asks for the version that is installed, or for torch; there is neither: a bare package
    # stands in.
    for name in ("groundstate", "groundstate.potentials", "groundstate.potentials.mace", ENGINE):
        package: Any = types.ModuleType(name)
        package.__path__ = [str(SOURCE / name.replace(".", "/"))]
        sys.modules[name] = package
    from groundstate.equivariant.native.build import build_all, requested_targets
    from groundstate.potentials.mace.engine.standard import standard_plans

    build_all(standard_plans(), requested_targets(wanted), folder, lambda line: print(line, flush=True))  # noqa: T201


setup(cmdclass={"build_py": build_py_with_kernels, "bdist_wheel": bdist_wheel_with_kernels})
