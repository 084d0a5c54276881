"""``make chaos``: the long crash tests, with a running count on the way and their figures at the end.

- ``kills``: 1 000 SIGKILLs of serving processes under load, on SQLite, MariaDB and PostgreSQL in turn.
- ``stops``: a MariaDB and a PostgreSQL stopped every 5 to 40 s for up to 2 s under a run of 5 000 tasks each.

Everything random comes from the seed, which is printed. The exit status is 1 when anything was lost, doubled or illegal.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "faults")]

from bench.load import Kind, database  # noqa: E402
from database_stops import Stops, stop_round  # noqa: E402
from kill_loop import Tally, kill_round  # noqa: E402
from own_engines import OwnEngines  # noqa: E402

from databases import SERVERS  # noqa: E402
from jobmon.server.web.db_admin import init_db  # noqa: E402

KILLS_PER_ROUND = 50
STOPPED_TASKS = 5000
EVERY_SECONDS = (5.0, 40.0)


def kills(number: int, dice: random.Random, say: Callable[[str], None]) -> list[str]:
    """Kill so many processes; what is not as it should be."""
    tallies: dict[Kind, Tally] = defaultdict(Tally)
    kinds, done = list(Kind), 0
    while done < number:
        kind = kinds[0]
        kinds = [*kinds[1:], kind]
        with database(kind) as uri, TemporaryDirectory(prefix="jobmon-chaos-") as directory:
            init_db(uri)
            before = done

            def tell(count: int, kind: Kind = kind, before: int = before) -> None:
                if (before + count) % 10 == 0:
                    say(f"{before + count} of {number} kills ({kind})")

            tally = kill_round(uri, Path(directory), min(KILLS_PER_ROUND, number - done), dice, tell)
        done += tally.kills
        tallies[kind].add(tally)
        for problem in tally.problems:
            say(f"PROBLEM {kind}: {problem}")
    for kind, tally in tallies.items():
        say(
            f"{kind}: {tally.kills} kills in {tally.seconds:.0f} s, {tally.rounds} processes, {tally.finished} workflows "
            f"done, {tally.acknowledged} acknowledged changes, {len(tally.problems)} lost, doubled or illegal"
        )
    return [problem for tally in tallies.values() for problem in tally.problems]


def stops(num_tasks: int, dice: random.Random, say: Callable[[str], None]) -> list[str]:
    """Stop database servers under a run of so many tasks; what is not as it should be."""
    engines, problems = OwnEngines(), []
    try:
        for backend in SERVERS:
            with TemporaryDirectory(prefix="jobmon-chaos-") as directory:
                found = stop_round(
                    engines.engine(backend),
                    Path(directory),
                    Stops(num_tasks, EVERY_SECONDS, command="sleep 0.04"),
                    dice,
                    lambda text, backend=backend: say(f"{backend}: {text}"),
                )
            problems += found.problems
            for problem in found.problems:
                say(f"PROBLEM {backend}: {problem}")
            say(
                f"{backend}: {found.stops} stops of {found.away_seconds:.1f} s in all under {num_tasks} tasks, "
                f"run in {found.seconds:.0f} s, {found.acknowledged} acknowledged changes, "
                f"{len(found.problems)} lost, doubled or illegal"
            )
    finally:
        engines.remove()
    return problems


def main() -> int:
    """Run them; the exit status."""
    parser = argparse.ArgumentParser("chaos", description="The long crash tests.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--kills", type=int, default=1000, help="how many; 0: none")
    parser.add_argument("--tasks", type=int, default=STOPPED_TASKS, help="under stops of databases; 0: none")
    given = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    say(f"seed {given.seed}: the same again with --seed {given.seed}")
    problems = kills(given.kills, random.Random(given.seed), say) if given.kills else []
    problems += stops(given.tasks, random.Random(given.seed + 1), say) if given.tasks else []
    say("nothing is lost or doubled" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
