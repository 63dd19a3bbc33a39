"""Kernels are accepted by Triton's compiler, not only by its interpreter."""

import os
import subprocess
import sys
from pathlib import Path


def test_every_kernel_compiles_for_a_gpu_that_need_not_be_there(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # Four kinds of message, each with its second derivatives, and the sum; seven of the contraction; four harmonics.
    assert len(done.stdout.split()) == 9 + 7 + 4
