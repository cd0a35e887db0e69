"""How the threads of a process wait for each other: asleep, so that a busy machine costs no processor time.

PyTorch divides its work with OpenMP, whose threads spin for a while before they sleep. With other programs on all cores
they spin while the thread that they wait for has no core to run on.
"""

from __future__ import annotations

import os

WAIT_POLICY = "OMP_WAIT_POLICY"


def use_passive_waiting() -> None:
    """Let the OpenMP threads of this process sleep while they wait; to be called before torch is loaded.

    The runtime reads the variable once, when it is loaded. ``OMP_WAIT_POLICY`` is in the OpenMP standard and known to
    the runtimes in PyTorch's builds: libgomp (Linux; sets ``GOMP_SPINCOUNT`` to 0), libiomp5md (Windows) and libomp
    (macOS; both set ``KMP_BLOCKTIME`` to 0). What a user has set, these two included, is left and has precedence.
    """
    os.environ.setdefault(WAIT_POLICY, "PASSIVE")
