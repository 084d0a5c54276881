"""``jobmon workflow resources``: what tasks used, and the YAML file that asks for it next time."""

from __future__ import annotations

from collections.abc import Callable

import click

from jobmon.client.cli.group import CommandGroup
from jobmon.client.cli.options import ID, F, ManyOption, echo_records, output_option


@click.group(cls=CommandGroup)
def resources() -> None:
    """What tasks used, and a YAML file that asks for it next time.

    \b
    Examples:
      jobmon workflow resources usage -w 12
      jobmon workflow resources yaml -w 12 --stdout
    """


@resources.command()
@click.option(
    "-t",
    "--template-version",
    type=ID,
    help="Id of a task template version.",
)
@click.option("--template", default="", help="Name of a template of the workflows.")
@click.option(
    "-w",
    "--workflow-id",
    "workflow_ids",
    cls=ManyOption,
    type=ID,
    help="Only in these workflows; with -t, default: in all.",
)
@click.option(
    "-a", "--node-args", default="", help='Only tasks with these node args: \'{"location": ["7"]}\'.'
)
@click.option("--ci", default=None, help="Also the confidence interval of the mean: 0.95 or 95%.")
@output_option
def usage(
    template_version: int | None,
    template: str,
    workflow_ids: tuple[int, ...],
    node_args: str,
    ci: str | None,
    output: str,
) -> None:
    """Memory and run time that the tasks of templates used.

    Of all templates of workflows (-w), of one of them (--template with -w), or of a template version in all
    workflows or some (-t). Attempts count that ended after they were started; memory is in bytes, run time in seconds.

    \b
    Examples:
      jobmon workflow resources usage -w 12
      jobmon workflow resources usage -w 12 13 --template fit -a '{"location": ["7", "8"]}'
      jobmon workflow resources usage -t 3 --ci 95% -o json
    """
    wanted = _parse_node_args(node_args)
    if template_version is not None and template:
        raise click.UsageError("Name the template (--template) or its version (-t), not both.")
    if template_version is not None:
        _version_usage(template_version, workflow_ids, wanted, ci, output)
    elif not workflow_ids:
        raise click.UsageError(
            "Say whose: -w ID for all templates of a workflow, -w ID --template NAME for one of them, or -t VERSION for "
            "a template version in all workflows."
        )
    elif wanted and not template:
        raise click.UsageError("Say which template has these node args: --template NAME.")
    else:
        _workflow_usage(workflow_ids, template, wanted, ci, output)


def _workflow_usage(
    workflow_ids: tuple[int, ...], template: str, node_args: dict[str, object], ci: str | None, output: str
) -> None:
    from jobmon.client.commands import resources as commands

    found = commands.workflow_template_usage(workflow_ids, template, node_args, ci)
    columns = commands.TEMPLATE_USAGE_COLUMNS + (commands.INTERVAL_COLUMNS if ci else ())
    if output == "table":
        click.echo("Memory in bytes, run time in seconds.")
    echo_records([{name: row[name] for name in columns} for row in found], columns, output)


def _version_usage(
    template_version: int,
    workflow_ids: tuple[int, ...],
    node_args: dict[str, object],
    ci: str | None,
    output: str,
) -> None:
    from jobmon.client.commands import records
    from jobmon.client.commands import resources as commands

    found = commands.task_template_resources(template_version, workflow_ids, node_args, ci)
    if output == "json":
        click.echo(records.to_json(found))
    elif found is None:
        click.echo(f"No attempt of task template version {template_version} has ended there.", err=True)
    else:
        if output == "table":
            click.echo(f"Tasks: {found['num_tasks']}. Memory in bytes, run time in seconds.")
        echo_records(commands.usage_records(found), commands.USAGE_COLUMNS, output)


def _parse_node_args(text: str) -> dict[str, object]:
    import json

    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no JSON: {error}.", param_hint="--node-args") from error
    if not isinstance(value, dict):
        raise click.BadParameter(
            f'{text!r} is no JSON object such as {{"location": ["7"]}}.', param_hint="--node-args"
        )
    return value


def _strategy(name: str, default: str, what: str) -> Callable[[F], F]:
    return click.option(
        f"--{name}-strategy",
        type=click.Choice(["avg", "max", "min"]),
        default=default,
        show_default=True,
        help=f"Which {what} to write.",
    )


@resources.command()
@click.option("-w", "--workflow-id", type=ID, help="Id of the workflow; or")
@click.option("-t", "--task-id", type=ID, help="id of the task.")
@_strategy("mem", "avg", "memory used")
@_strategy("core", "avg", "number of cores asked for")
@_strategy("runtime", "max", "run time used")
@click.option(
    "-c",
    "--cluster",
    "clusters",
    cls=ManyOption,
    help="Clusters to write for; default: those the tasks ran on.",
)
@click.option("-f", "--file", "path", type=click.Path(dir_okay=False), help="Write it to this file.")
@click.option("--stdout", "is_printed", is_flag=True, help="Print it.")
def yaml(
    workflow_id: int | None,
    task_id: int | None,
    mem_strategy: str,
    core_strategy: str,
    runtime_strategy: str,
    clusters: tuple[str, ...],
    path: str | None,
    is_printed: bool,
) -> None:
    """Resources for every template of a workflow, made of what was used.

    The file is what set_default_compute_resources_from_yaml() and get_task_template(yaml_file=...) read. Memory and run
    time are those of attempts that succeeded; cores and queue are those that were asked for.

    \b
    Examples:
      jobmon workflow resources yaml -w 12 --stdout
      jobmon workflow resources yaml -w 12 --mem-strategy max -c slurm -f resources.yaml
    """
    from jobmon.client.atomic_file import write_text
    from jobmon.client.commands import resources as commands

    if (workflow_id is None) == (task_id is None):
        raise click.UsageError("Name either a workflow (-w ID) or a task (-t ID).")
    if path is None and not is_printed:
        raise click.UsageError("Say where to put it: -f FILE, --stdout, or both.")
    text = commands.create_resource_yaml(
        workflow_id, task_id, mem_strategy, core_strategy, runtime_strategy, clusters
    )
    if path is not None:
        write_text(path, text)
        click.echo(f"Wrote {path}.", err=True)
    if is_printed:
        click.echo(text, nl=False)
