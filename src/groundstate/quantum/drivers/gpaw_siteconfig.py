"""How GPAW is compiled for us (`GPAW_CONFIG`): serial, with libxc.

Left to itself its build drops libxc without a word where `mpic++` is there and the headers of MPI are not. Debian:
apt install g++ libxc-dev libopenblas-dev libfftw3-dev
"""

mpi = False
compiler = "g++"
libraries = ["xc", "openblas", "fftw3"]
fftw = True
scalapack = False
