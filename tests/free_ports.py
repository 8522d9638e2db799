"""Ports of this machine for servers that a test is about to start."""

from __future__ import annotations

import random
import socket

# Below those that systems give to outgoing connections, which might take one at any time.
RANGE = (20_000, 32_000)


def find(count: int) -> list[int]:
    """Different ports on which nobody listens."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(*RANGE)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("localhost", port)):
                found.append(port)
    return found
