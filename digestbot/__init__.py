"""digestbot: personal daily digests of new papers, chosen well and sent safely."""

__version__ = "0.1.0"

import os

# Linear algebra runs on one thread; numpy asks for it when it is first loaded, by whichever module. The same sums on
# every machine, and no fight over the cores: a decomposition of 0.3 s took 7 s on a busy machine with two.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
