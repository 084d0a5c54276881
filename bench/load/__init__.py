"""Loads: what many controllers and wrappers ask of a server at once, and the servers and databases to ask it of.

:class:`Simulation` plays whole workflows, controllers and wrappers, over the real HTTP interface; :class:`Servers`
starts and kills ``jobmon-server start`` over a database of :func:`database`. Tests of faults use the same::

    with database(Kind.POSTGRESQL) as uri, Servers(uri, directory) as servers:
        journal = Journal()
        simulation = Simulation(Shape(workflows=4, lanes=50, links=5, seconds=0.2), servers.urls, journal=journal)
        outcome = asyncio.run(simulation.run())
        journal.assert_kept(uri)

``python -m bench.load [names…]`` measures the institute's load on each database and prints the table.
"""

from __future__ import annotations

from bench.load.client import Client, Refused
from bench.load.place import Kind, Servers, database
from bench.load.simulation import Outcome, Shape, Simulation

__all__ = ["Client", "Kind", "Outcome", "Refused", "Servers", "Shape", "Simulation", "database"]
