"""Agents that come and go, heard from the leading master's operator event stream.

Without it a new agent would be noticed only by an offer (suppressed while nothing waits) or by the
next full listing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from km import events
from km.mesos.errors import CallRefusedError, MesosError, reading
from km.mesos.operator import OperatorClient
from km.offers import agent_from_mesos

log = logging.getLogger("km.mesos")

PAUSE = 1.0
REFUSED_PAUSE = 60.0
"""Seconds before the stream is opened again, the second after a refusal (a missing permission)."""


class AgentWatch:
    """Follows AGENT_ADDED and AGENT_REMOVED at whichever master we are subscribed to."""

    def __init__(
        self,
        operator: OperatorClient,
        master: Callable[[], str | None],
        roles: Iterable[str],
        tell: Callable[[events.Event], None],
    ) -> None:
        self._operator = operator
        self._master = master
        self._roles = tuple(roles)
        self._tell = tell

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            pause = PAUSE
            master = self._master()
            if master is not None:
                try:
                    async for message in self._operator.events(master):
                        for event in self.events_of(message):
                            self._tell(event)
                except CallRefusedError as error:
                    pause = REFUSED_PAUSE
                    log.warning("cannot watch agents", extra={"error": error, "again_in": pause})
                except MesosError as error:
                    log.info("the watch of agents ended", extra={"reason": error})
            await asyncio.sleep(pause)

    def events_of(self, message: Mapping[str, Any]) -> list[events.Event]:
        """What one message of the operator stream tells the core."""
        with reading(f"an {message['type']} event"):
            if message["type"] == "AGENT_ADDED":
                agent = agent_from_mesos(message["agent_added"]["agent"], self._roles)
                return [events.AgentAdded(agent=agent)]
            if message["type"] == "AGENT_REMOVED":
                return [events.AgentRemoved(agent_id=message["agent_removed"]["agent_id"]["value"])]
        return []
