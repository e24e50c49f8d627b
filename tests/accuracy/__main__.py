"""Does the suite tell a difference from noise?

    python -m tests.accuracy simulation [RUNS]   intervals on planted noise
    python -m tests.accuracy answer [RUNS]       answers of runs that launch leaders again
    python -m tests.accuracy launches [COUNT]    one case entered twice, and one 5 % slower
    python -m tests.accuracy real FILE [DRAWS]   recorded launches against themselves
    python -m tests.accuracy record FILE [N]     adds N launches of three small cases to FILE
    python -m tests.accuracy balancing [RUNS]    learners of shares on planted devices
    python -m tests.accuracy cutting [RUNS]      learners of stage cuts on planted devices
    python -m tests.accuracy slowed [COLUMN ...] shares of real trainings that lose half a core
    python -m tests.accuracy auto [NAME ...]     --strategy auto against measuring every way

``launches`` runs real processes under the standard precision and budget, and exits with 1 where
over a tenth of the equal pairs are called different, or under nine tenths of the others are not.
"""

from __future__ import annotations

import sys

from tests.accuracy import automatic, balancing, cutting, launches, sequential, simulation, slowed


def main() -> None:
    command, *rest = sys.argv[1:] or ["help"]
    if command == "simulation":
        simulation.report(*map(int, rest))
    elif command == "answer":
        sequential.report(*map(int, rest))
    elif command == "launches":
        sys.exit(launches.report(*map(int, rest)))
    elif command == "real":
        launches.resample(rest[0], *map(int, rest[1:]))
    elif command == "record":
        launches.record(rest[0], *map(int, rest[1:]))
    elif command == "balancing":
        balancing.report(*map(int, rest))
    elif command == "cutting":
        cutting.report(*map(int, rest))
    elif command == "slowed":
        slowed.report(*rest)
    elif command == "auto":
        sys.exit(automatic.report(*rest))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
