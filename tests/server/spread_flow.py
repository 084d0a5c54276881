"""``python spread_flow.py FLOW.py SPEC.json``: a control script whose every request goes to one of several servers at random.

The servers' addresses, with the route prefix, stand in ``JOBMON_TEST_SERVERS``; the first is the configured one.
"""

import os
import random
import runpy
import sys

from jobmon.core import requester

URLS = os.environ["JOBMON_TEST_SERVERS"].split()
_usual_client = requester._default_client


class SpreadClient:
    """An HTTP client that does not care which server it was told to ask."""

    def __init__(self, *arguments):
        self.client = _usual_client(*arguments)

    def request(self, method, url, **options):
        assert url.startswith(URLS[0])
        return self.client.request(method, random.choice(URLS) + url.removeprefix(URLS[0]), **options)

    def close(self):
        self.client.close()


requester._default_client = SpreadClient
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
