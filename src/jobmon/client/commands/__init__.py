"""What the command line does, as functions: each asks the server and returns plain values, printing nothing.

Imports core and serializers; the controller is imported where a workflow is resumed. Scripts find these functions
in :mod:`jobmon.client.status_commands`, terminals in :mod:`jobmon.client.cli`.
"""
