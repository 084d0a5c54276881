"""Life expectancy in 142 countries: a whole workflow, from the data to the figure.

One task per country fits a trend, one per continent puts its countries together, a last one draws the figure.
Run it twice, and the second time it says that nothing is left to do. With ``--cluster slurm``, from a machine where
``sbatch`` works, the tasks are jobs of the Slurm cluster. See ``--help`` for the rest.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from life_data import countries, key

from jobmon.client.api import Tool
from jobmon.client.task import Task
from jobmon.core.exceptions import WorkflowAlreadyComplete, WorkflowAlreadyExists

HERE = Path(__file__).resolve().parent
THIS_MACHINE = "multiprocess"
DATA = HERE / "data" / "gapminder.csv"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="directory of the results")
    parser.add_argument("--new", action="store_true", help="begin a new workflow")
    parser.add_argument("--resume", action="store_true", help="go on with the last workflow where it ended")
    parser.add_argument("--cluster", default=THIS_MACHINE, help="where the tasks run; default: this machine")
    parser.add_argument("--queue", help="queue of the cluster; default: the cluster's own")
    parser.add_argument(
        "--break", dest="broken", metavar="COUNTRY", help="spoil the data of one country first"
    )
    arguments = parser.parse_args()
    if arguments.new and arguments.resume:
        parser.error("--new begins anew and --resume goes on: choose one of them")
    known = {key(country) for country in countries(DATA)}
    if arguments.broken and key(arguments.broken) not in known:
        parser.error(f"there is no country {arguments.broken!r} in {DATA}")
    return arguments


def copy_data(target: Path, broken: str | None) -> None:
    """Lay out the input of the workflow; ``broken`` names a country whose first life expectancy is spoilt."""
    with open(DATA, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if broken:
        spoilt = next(row for row in rows if key(row[0]) == key(broken))
        spoilt[header.index("lifeExp")] = "n/a"
    with open(target, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def workflow_args(results: Path, new: bool) -> str:
    """What makes this workflow the same one when the script runs again.

    It is kept with the results: another directory, an emptied one or ``--new`` is another workflow.
    """
    file = results / "workflow_args.txt"
    if new or not file.exists():
        file.write_text(f"{results} {datetime.now().astimezone().isoformat()}\n", encoding="utf-8")
    return file.read_text(encoding="utf-8").strip()


def resources(cluster: str, queue: str | None) -> dict[str, Any]:
    """What each task asks of the cluster; this machine gives what there is."""
    asked: dict[str, Any] = {} if cluster == THIS_MACHINE else {"cores": 1, "memory": "500M", "runtime": "5m"}
    return asked | ({"queue": queue} if queue else {})


def make_tasks(tool: Tool, data: Path, results: Path) -> list[Task]:
    """What is run, and what depends on what.

    Node args tell tasks of one kind apart; task args are what else their results depend on; op args the rest.
    """
    paths = {"data": data, "python": sys.executable, "scripts": HERE, "results": results}
    values: dict[str, Any] = {name: shlex.quote(str(path)) for name, path in paths.items()}
    kinds: dict[str, Any] = {"task_args": ["data"], "op_args": ["python", "scripts", "results"]}
    country = tool.get_task_template(
        template_name="trend",
        command_template="{python} {scripts}/country.py {country} {data} {results}",
        node_args=["country"],
        **kinds,
    )
    continent = tool.get_task_template(
        template_name="mean",
        command_template="{python} {scripts}/continent.py {continent} {data} {results}",
        node_args=["continent"],
        **kinds,
    )
    summary = tool.get_task_template(
        template_name="figure",
        command_template="{python} {scripts}/summary.py {data} {results}",
        **kinds,
    )

    continent_of = countries(data)
    country_tasks = country.create_tasks(country=[key(name) for name in continent_of], **values)
    of_continent: dict[str, list[Task]] = {name: [] for name in sorted(set(continent_of.values()))}
    for task, name in zip(country_tasks, continent_of.values(), strict=True):
        of_continent[name].append(task)
    continent_tasks = [
        continent.create_task(continent=key(name), upstream_tasks=tasks, **values)
        for name, tasks in of_continent.items()
    ]
    summary_task = summary.create_task(upstream_tasks=continent_tasks, **values)
    return [*country_tasks, *continent_tasks, summary_task]


def main() -> int:
    arguments = parse_arguments()
    results = arguments.results.resolve()
    results.mkdir(parents=True, exist_ok=True)
    data = results / "input.csv"
    copy_data(data, arguments.broken)

    tool = Tool(name="life_expectancy")
    workflow = tool.create_workflow(
        name="life_expectancy",
        workflow_args=workflow_args(results, arguments.new),
        default_cluster_name=arguments.cluster,
        default_compute_resources_set={arguments.cluster: resources(arguments.cluster, arguments.queue)},
    )
    workflow.add_tasks(make_tasks(tool, data, results))

    script = f"{as_typed('python')} {shlex.quote(sys.argv[0])}"
    if results != (HERE / "results").resolve():
        script += f" --results {shlex.quote(str(arguments.results))}"
    if arguments.cluster != THIS_MACHINE:
        script += f" --cluster {shlex.quote(arguments.cluster)}"
    if arguments.queue:
        script += f" --queue {shlex.quote(arguments.queue)}"
    try:
        status = workflow.run(resume=arguments.resume)
    except WorkflowAlreadyComplete:
        print(f"Workflow {workflow.workflow_id} is already complete: nothing was run.")
        print_results(results)
        print(f"To run everything anew:   {script} --new")
        return 0
    except WorkflowAlreadyExists:
        print(f"Workflow {workflow.workflow_id} was begun before and is not complete: nothing was run.")
        print(f"To go on where it ended:  {script} --resume")
        print(f"To run everything anew:   {script} --new")
        return 1
    except KeyboardInterrupt:
        print("Interrupted; what was done is kept.")
        print(f"To go on where it ended:  {script} --resume")
        return 130

    print(f"Workflow {workflow.workflow_id} ended with status {status} after {status.elapsed_time:.1f} s.")
    if status == "D":
        print_results(results)
    else:
        print(f"Put right what failed, then go on with: {script} --resume")
    print("To look closer:")
    number = workflow.workflow_id
    for words in (
        f"status {number}",
        f"{'logs' if status == 'D' else 'errors'} {number}",
        f"report {number} -o report.html",
    ):
        print(f"    {as_typed('jobmon')} workflow {words}")
    return 0 if status == "D" else 1


def print_results(results: Path) -> None:
    print(f"The figure: {results / 'life_expectancy.png'}")
    print(f"The table:  {results / 'life_expectancy.csv'}")


def as_typed(program: str) -> str:
    """How to call a program of this environment from here: by its name alone where that finds it."""
    path = Path(sys.executable).parent / program
    if shutil.which(program) == str(path):
        return program
    return shlex.quote(os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path))


if __name__ == "__main__":
    sys.exit(main())
