"""How much memory there is to be had."""

from __future__ import annotations


def free_bytes() -> int | None:
    """Memory that can be had without pushing others out, within the limit of a container; None
    where the system does not say."""
    limits = []
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        limits.append(int(lines["MemAvailable"].split()[0]) * 1024)
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            most = int(file.read())
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as file:
            limits.append(max(0, most - int(file.read())))
    except (OSError, KeyError, ValueError):  # another system; "max" is no number
        pass
    return min(limits, default=None)
