"""Where tasks run: hands attempts to clusters and brings back what becomes of them.

``local`` drives clusters that run commands themselves. Reaches plugins through ``core.cluster`` only.
"""
