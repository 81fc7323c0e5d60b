"""What machines on AWS cost a month, roughly: list prices, no promise."""

from __future__ import annotations

from collections.abc import Iterable

AS_OF = "2025-06, us-east-1, Linux, on demand"
"""What the figures below are; other regions cost up to a third more, spot mostly a third."""

HOURS = 730
GP3_GB_MONTH = 0.08
PUBLIC_IPV4_HOUR = 0.005
NETWORK_LOAD_BALANCER_HOUR = 0.0225
"""Without what passes through it."""

SIZES = ("large", "xlarge", "2xlarge", "4xlarge")
LARGE_HOUR = {
    "c5": 0.085,
    "c6i": 0.085,
    "c7i": 0.08925,
    "m5": 0.096,
    "m6a": 0.0864,
    "m6i": 0.096,
    "m7i": 0.1008,
    "r5": 0.126,
    "r6i": 0.126,
    "r7i": 0.1323,
}
"""USD an hour of a family's ``large``; each next size costs twice as much."""

HOUR = {
    "t3.nano": 0.0052,
    "t3.micro": 0.0104,
    "t3.small": 0.0208,
    "t3.medium": 0.0416,
    "t3.large": 0.0832,
    "t3.xlarge": 0.1664,
    "t3.2xlarge": 0.3328,
} | {
    f"{family}.{size}": price * 2**step
    for family, price in LARGE_HOUR.items()
    for step, size in enumerate(SIZES)
}
"""USD an hour by instance type."""


def monthly_usd(machines: Iterable[tuple[str, int]], *, balancers: int = 1) -> float | None:
    """Estimate a month of machines given as (instance type, GiB of disk).

    None when a type has no known price: a part of the sum would look like the whole.
    """
    total = balancers * NETWORK_LOAD_BALANCER_HOUR * HOURS
    for kind, disk_gb in machines:
        if kind not in HOUR:
            return None
        total += (HOUR[kind] + PUBLIC_IPV4_HOUR) * HOURS + disk_gb * GP3_GB_MONTH
    return round(total, 2)
