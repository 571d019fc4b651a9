"""What figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path


def first_line(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True,
                              text=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    openssl = " ".join(first_line("openssl", "version").split()[:2])
    softhsm = first_line("softhsm2-util", "--version")
    return (f"{datetime.date.today():%d %B %Y}; {os.cpu_count()} cores ({model}), {system}, "
            f"{openssl}, SoftHSM {softhsm}, load {os.getloadavg()[0]:.1f} before")
