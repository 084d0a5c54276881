"""``python -m jobmon.client.cli``: the command line where no ``jobmon`` is on the path."""

from jobmon.client.cli import main

if __name__ == "__main__":
    main()
