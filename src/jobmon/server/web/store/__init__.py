"""All SQL of the server: functions named object, verb, guard; batch first; each within the caller's transaction.

Rows are locked in one order everywhere: workflow, workflow run, task instances, tasks.
"""
