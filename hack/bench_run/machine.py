"""What figures are of: the machine, the versions and the commit; nothing that names a host."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hack.lab.versions import DEFAULT_KUBERNETES

ROOT = Path(__file__).resolve().parents[2]


def describe() -> dict[str, Any]:
    """Return date, commit and machine."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _changed() else ""),
        "machine": {
            "cores": os.cpu_count(),
            "cpu": _field("/proc/cpuinfo", "model name"),
            "memoryGiB": round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1024**2, 1),
            "python": platform.python_version(),
            "kubernetes": DEFAULT_KUBERNETES,
        },
    }


def _changed() -> bool:
    """Whether what is measured differs from the commit."""
    return bool(_git("status", "--porcelain", "--", "gastown_operator", "tests/bench"))


def _git(*arguments: str) -> str:
    ran = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
