"""How many threads the linear algebra below numpy takes: one; and how many cores there are.

Our arrays are small. Waiting for a second thread costs more than it brings: on two busy cores
OpenBLAS made a render take 6.4 s of processor time instead of 0.6 s. It also lets sums depend on
the machine. What is parallel here is processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# Read by the libraries when they are loaded, so they must be set before numpy is imported.
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def use_one() -> None:
    """For this process, unless the user has said otherwise."""
    for name in _VARIABLES:
        os.environ.setdefault(name, "1")


@contextmanager
def one_in_children() -> Iterator[None]:
    """For processes that are started inside the block."""
    kept = {name: os.environ.get(name) for name in _VARIABLES}
    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a container may be given fewer than there are
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def model_threads() -> int:
    """How many threads a large model takes: of many cores, half, since the rest are mostly the
    others' second threads."""
    count = usable_cores()
    return count if count <= 4 else max(4, count // 2)
