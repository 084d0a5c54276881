"""Decisions of the server: values in, values out, by the tables of :mod:`jobmon.core.states`."""
