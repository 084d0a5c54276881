"""A Jobmon server on this machine, over a SQLite file of your choice, for you and your scripts.

Jobmon starts a local server by itself, so this is needed only to choose the file, or to share the server with
other terminals under one address. The script writes the address to your configuration (``~/.jobmon/config.yaml``): the
next workflow you run uses it. It serves until you press Ctrl-C.

    python examples/local_server.py /path/to/jobmon.sqlite
"""

import os
import socket
import sys

import uvicorn

from jobmon.server.web.api import JobmonConfig, get_app
from jobmon.server.web.db_admin import init_db


class WebServerProcess:
    """The web service over one SQLite file."""

    def __init__(self, filepath: str) -> None:
        self.filepath = os.path.abspath(filepath)
        self.web_host = "127.0.0.1"
        with socket.socket() as probe:
            probe.bind((self.web_host, 0))
            self.web_port = probe.getsockname()[1]

    def start_web_service(self) -> None:
        """Create the database where there is none, tell the clients the address, serve."""
        database_uri = f"sqlite:///{self.filepath}"
        init_db(database_uri)
        config = JobmonConfig(dict_config={"db": {"sqlalchemy_database_uri": database_uri}})
        app = get_app(config)
        config.set("http", "service_url", f"http://{self.web_host}:{self.web_port}")
        config.write()
        print(f"Jobmon serves {self.filepath} at http://{self.web_host}:{self.web_port}", flush=True)
        print(f"Your configuration {config.filepath} points there.", flush=True)
        uvicorn.run(app, host=self.web_host, port=self.web_port, log_level="warning")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Which file? python local_server.py /path/to/jobmon.sqlite")
    WebServerProcess(sys.argv[1]).start_web_service()
