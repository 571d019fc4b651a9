"""What we want to reach. Reported beside the figures, never asserted."""

from __future__ import annotations

from dataclasses import dataclass

from figures import Comparison


@dataclass(frozen=True)
class Aim:
    text: str
    ratio: float | None = None      # to the raw module: at least for a rate, at most for a time
    calls: int | None = None        # at most
    seconds: float | None = None    # at most

    def missed(self, comparison: Comparison) -> bool:
        """Beyond the noise: the whole interval lies on the wrong side."""
        ratio, calls = comparison.ratio("hwid"), comparison.calls("hwid")
        if self.ratio is not None:
            wrong = ratio.high < self.ratio if comparison.is_rate else ratio.low > self.ratio
            if wrong:
                return True
        if self.seconds is not None and comparison.seconds("hwid").low > self.seconds:
            return True
        return self.calls is not None and calls is not None and calls > self.calls


def aim_of(comparison: Comparison) -> Aim | None:
    is_ec = "P-256" in comparison.name
    if comparison.suite == "sign":
        ratio = 1.28 if is_ec else 1.0
        return Aim(f"{ratio:.2f}, 2 calls", ratio=ratio, calls=2)
    if comparison.suite in ("tpm sign", "tpm tls"):
        return Aim("0.98, 1 command", ratio=0.98, calls=1)
    if comparison.suite == "tls":
        return Aim("2 calls", calls=2)
    if comparison.suite == "reload":
        return Aim("30 µs, 0 calls", seconds=30e-6, calls=0)
    if comparison.suite == "first load" and ", 4 objects" not in comparison.name:
        return Aim("1.03", ratio=1.03)
    if comparison.suite == "process":
        calls = 15 if is_ec else 14
        return Aim(f"1.15, {calls} calls", ratio=1.15, calls=calls)
    if comparison.suite in ("round trip", "messages"):
        return Aim("0.95", ratio=0.95)
    return None
