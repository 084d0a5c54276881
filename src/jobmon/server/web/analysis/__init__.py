"""Computations on what was read from the database: values in, values out; no SQL, no clock."""
