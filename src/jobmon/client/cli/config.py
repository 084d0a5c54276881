"""``jobmon config``."""

from __future__ import annotations

import click


@click.group()
def config() -> None:
    """Show and change the configuration."""


@config.command()
@click.option("--section", default="", help="Only this section.")
@click.option("--key", default="", help="Only this key (of the section, or written section.key).")
@click.option(
    "-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="Format."
)
def show(section: str, key: str, output: str) -> None:
    """Print the configuration that applies here; secrets are masked."""
    from jobmon.client.commands import records
    from jobmon.client.commands.config import config_values

    values = config_values(section, key)
    if output == "json":
        click.echo(records.to_json(values))
        return
    import yaml

    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--config-file", default=None, help="The file to change; default: the one that applies.")
def set_value(key: str, value: str, config_file: str | None) -> None:
    """Write VALUE for KEY (section.key) into the configuration file."""
    from jobmon.client.commands.config import update_config_value

    click.echo(update_config_value(key, value, config_file))
