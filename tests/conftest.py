import os

# A job takes one thread. This file is read before any test imports numpy or numba, which look at these once.
for variable in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# These run in processes of their own, which test_gpu starts: numba looks at this one when it is imported, too.
collect_ignore = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["simulated"]
