"""What a container may do, which is nearly nothing: a model file is untrusted code; pure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIN_MEMORY_BYTES = 16 * 2**20  # below this runc itself may not start
_TMP_BYTES = 16 * 2**20
_PERIOD_US = 10_000  # a short period: throttling shows in every inference, not as a 90 ms p90


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Limits of one container.

    Attributes:
        memory_bytes: hard limit, with no swap beyond it; None leaves the machine's.
        cpu_share: processor time per wall time, 0.5 is half of one core; None is unlimited.
        pids: processes and threads at once.
        seccomp: the allow-list, as JSON text.
    """

    memory_bytes: int | None = None
    cpu_share: float | None = None
    pids: int = 8
    seccomp: str

    def host_config(self, timeout_s: float) -> dict[str, Any]:
        """Return the arguments of the engine's host configuration.

        The processor-time limit ends what would go on computing after its caller died; the
        caller itself ends it at the deadline.
        """
        seconds = math.ceil(timeout_s) * self.pids + 5
        options: dict[str, Any] = {
            "init": True,
            "network_mode": "none",
            "ipc_mode": "none",
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges", f"seccomp={self.seccomp}"],
            "pids_limit": self.pids,
            "tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,size={_TMP_BYTES}"},  # noqa: S108
            "ulimits": [
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "nofile", "Soft": 64, "Hard": 64},
                {"Name": "cpu", "Soft": seconds, "Hard": seconds},
                {"Name": "fsize", "Soft": _TMP_BYTES, "Hard": _TMP_BYTES},
            ],
            "log_config": {"Type": "none", "Config": {}},
        }
        if self.memory_bytes is not None:
            size = max(self.memory_bytes, MIN_MEMORY_BYTES)
            options |= {"mem_limit": size, "memswap_limit": size}
        if self.cpu_share is not None:
            options |= {
                "cpu_period": _PERIOD_US,
                "cpu_quota": max(int(self.cpu_share * _PERIOD_US), 1000),
            }
        return options


def sandbox(folder: Path, **limits: Any) -> Sandbox:
    """Return a Sandbox with the allow-list of the docker/ folder."""
    text = json.dumps(json.loads((folder / "seccomp.json").read_text()))
    return Sandbox(seccomp=text, **limits)
