"""Measurements of the budgets: ``python -m bench [names…]``, one module for each question.

Each module has ``ROWS``, the lines it adds to the table of docs/performance.md. Every measurement runs in a Python
process of its own, in an empty directory with a database and a local server of its own (:mod:`bench.place`); it uses
the public interface and reads what the kernel says of processes. Start reading in :mod:`bench.row`.
"""
