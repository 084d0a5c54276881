"""``jobmon config``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jobmon.client.cli.group import CommandGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobmon.client.commands.config import Setting


@click.group(cls=CommandGroup)
def config() -> None:
    """Show and change the configuration."""


@config.command()
@click.option("--section", default="", help="Only this section.")
@click.option("--key", default="", help="Only this key (of the section, or written section.key).")
@click.option("--origin", is_flag=True, help="With each value, say where it comes from.")
@click.option(
    "-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="Format."
)
def show(section: str, key: str, origin: bool, output: str) -> None:
    """Print the configuration that applies here; secrets are masked.

    \b
    Examples:
      jobmon config show --section http
      jobmon config show --origin
      jobmon config show --key db.pool.size -o json
    """
    from jobmon.client.commands import config as commands
    from jobmon.client.commands import records

    if origin and output == "yaml":
        _echo_with_origins(commands.config_settings(section, key))
        return
    if origin:
        settings = commands.config_settings(section, key)
        click.echo(
            records.to_json(
                {
                    name: {row.name: {"value": row.value, "origin": row.origin} for row in rows}
                    for name, rows in settings.items()
                }
            )
        )
        return
    values = commands.config_values(section, key)
    if output == "json":
        click.echo(records.to_json(values))
        return
    import yaml

    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


def _echo_with_origins(settings: Mapping[str, Sequence[Setting]]) -> None:
    """YAML with the origins as comments, which can be used as a file again."""
    import yaml

    for section, rows in settings.items():
        click.echo(f"{section}:")
        for row in rows:
            listed = yaml.safe_dump([row.value], default_flow_style=True, allow_unicode=True, width=10**6)
            line = f"  {row.name}: {listed.strip()[1:-1]}"
            origin = row.origin + (", without effect in this version" if row.is_idle else "")
            click.echo(f"{line:<50}  {click.style('# ' + origin, dim=True)}")


@config.command("set")
@click.argument("key")
@click.argument("value")
@click.option("--config-file", default=None, help="The file to change; default: the one that applies.")
def set_value(key: str, value: str, config_file: str | None) -> None:
    """Write VALUE for KEY (section.key) into the configuration file.

    Values are typed as in the environment: numbers, true and false, JSON. Comments of the file are not kept.

    \b
    Examples:
      jobmon config set multiprocess.parallelism 4
      jobmon config set http.service_url https://jobmon.example.org --config-file site.yaml
    """
    from jobmon.client.commands.config import update_config_value

    click.echo(update_config_value(key, value, config_file))
