"""When tasks run: the state of one run as values (``state``), and the loop that acts on it (``controller``).

Imports core, serializers and distributor; knows no plugin and no database. Start reading at
:mod:`jobmon.swarm.state`.
"""
