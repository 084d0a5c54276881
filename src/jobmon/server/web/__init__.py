"""The web service: routes decode messages, the store changes the database, ``fsm`` decides.

A request is one transaction. Start reading at :mod:`jobmon.server.web.api`, then ``store``.
"""
