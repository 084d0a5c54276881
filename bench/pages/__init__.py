"""What the pages of the web GUI cost at a workflow of a million tasks: time of the server, bytes sent, browsers that watch."""
