"""``jobmon completion``."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes commands and options with the Tab key.

    \b
    Examples, a line for the shell's start-up file:
      eval "$(jobmon completion bash)"          ~/.bashrc (bash 4.4 or newer)
      eval "$(jobmon completion zsh)"           ~/.zshrc
      jobmon completion fish | source           ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root()
    click.echo(kind(root.command, {}, "jobmon", "_JOBMON_COMPLETE").source())
