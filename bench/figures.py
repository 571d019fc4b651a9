"""What the benchmark programs measured, as ratios with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass


def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def interval(values: list[float]) -> tuple[float, float]:
    """Where the true median lies with 95 % confidence, whatever the distribution: between two of
    the values themselves (a sign test turned round). Fewer than six: the least and the largest."""
    ordered = sorted(values)
    count = len(ordered)
    cut, outside = 0, 0.0
    for k in range(count // 2):
        outside += 2 * math.comb(count, k) / 2**count
        if outside > 0.05:
            break
        cut = k
    return ordered[cut], ordered[count - 1 - cut]


@dataclass(frozen=True)
class Figure:
    """A median, and the interval that it lies in."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        low, high = interval(values)
        return cls(median(values), low, high)


class Comparison:
    """Contenders that did the same work in the same rounds."""

    def __init__(self, data: dict):
        self.suite: str = data["suite"]
        self.name: str = data["name"]
        self.threads: int = data["threads"]
        self.is_rate: bool = data["is_rate"]
        self.is_memory: bool = data.get("is_memory", False)  # bytes in the place of seconds
        self._contenders = {one["name"]: one for one in data["contenders"]}
        self.reference = data["contenders"][0]["name"]

    @property
    def has_threads(self) -> bool:
        """Whether the number of threads is a part of the question."""
        return self.is_rate and self.suite not in ("messages", "gateway")

    def names(self) -> list[str]:
        return list(self._contenders)

    def calls(self, name: str) -> float | None:
        return self._contenders[name].get("calls")

    def seconds(self, name: str) -> Figure:
        return Figure.of(self._contenders[name]["seconds"])

    def ratio(self, name: str) -> Figure:
        """To the reference, round by round: of operations a second, or of the time that one
        takes."""
        return self._ratio(name, "seconds")

    def cpu_ratio(self, name: str) -> Figure | None:
        """The same of the processor's time, which other programs on the machine disturb less;
        not known of other processes."""
        if "cpu_seconds" not in self._contenders[name]:
            return None
        return self._ratio(name, "cpu_seconds")

    def _ratio(self, name: str, key: str) -> Figure:
        pairs = zip(self._contenders[name][key], self._contenders[self.reference][key])
        if self.is_rate:
            return Figure.of([reference / mine for mine, reference in pairs])
        return Figure.of([mine / reference for mine, reference in pairs])
