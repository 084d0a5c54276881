"""Tasks that are calls of a Python function: an estimate of pi from random points, in twelve parts.

    python examples/task_generator.py

The function is in the file that builds the workflow. A task imports this file to find it, so everything that is
not to happen in each task stands behind ``if __name__ == "__main__":``.
"""

import json
import random
from pathlib import Path

from jobmon.client.api import Tool
from jobmon.core.task_generator import task_generator


@task_generator(serializers={Path: (str, Path)}, tool_name="pi", naming_args=["shape", "seed"])
def throw(directory: Path, seed: int, shape: str | None = None, num_points: int = 20_000) -> None:
    """Throw points at the unit square and note how many fell into the shape.

    Args:
        directory: where the note goes.
        seed: of the random numbers.
        shape: ``circle`` (a quarter of it) or ``None`` for the whole square.
        num_points: points to throw.
    """
    numbers = random.Random(seed)
    points = ((numbers.random(), numbers.random()) for _ in range(num_points))
    hits = sum(shape is None or x * x + y * y <= 1 for x, y in points)
    (directory / f"{shape}_{seed}.json").write_text(json.dumps([hits, num_points]))


@task_generator(serializers={Path: (str, Path)}, tool_name="pi", naming_args=[])
def gather(directory: Path, shapes: list[str | None]) -> None:
    """Write the ratio of the hits of every shape."""
    for shape in shapes:
        notes = [json.loads(path.read_text()) for path in sorted(directory.glob(f"{shape}_*.json"))]
        hits, thrown = map(sum, zip(*notes, strict=True))
        (directory / f"{shape}.txt").write_text(f"{4 * hits / thrown:.3f}\n")


if __name__ == "__main__":
    directory = Path("points").resolve()
    directory.mkdir(exist_ok=True)
    shapes = ["circle", None]

    parts = throw.create_tasks(directory=[directory], seed=range(6), shape=shapes)  # 1 x 6 x 2 tasks
    together = gather.create_task(directory=directory, shapes=shapes, upstream_tasks=parts)

    workflow = Tool(name="pi").create_workflow(name="pi")
    workflow.add_tasks([*parts, together])
    status = workflow.run()
    print(f"Workflow {workflow.workflow_id} ended with status {status}.")
    print(f"Pi is about {(directory / 'circle.txt').read_text().strip()}.")
