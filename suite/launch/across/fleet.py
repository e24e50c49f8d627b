"""The harness's side of a launch over hosts: it deals out the ranks and keeps one clock for all."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from suite.contract.clocks import ClockOffset, on_one_clock
from suite.contract.files import write_atomically
from suite.contract.hosts import Host, dealt, places
from suite.launch import failures
from suite.launch.across.channel import KEY, hang_up
from suite.launch.across.engines import ENGINES, TORCHRUN, Started, address_toward
from suite.launch.across.link import Link, RemoteRank, gather
from suite.launch.group import LaunchError, LaunchRequest, Outcome, bounded, launch
from suite.launch.processes import ProcessGroup
from suite.launch.signals import undisturbed
from suite.launch.waiting import Ending, flooded, wait

# Ending a group takes SIGTERM's grace, SIGKILL's, and the files that are still to come.
END_SECONDS, STACKS_SECONDS = 12.0, 4.0
# Beside the records: what was subtracted from the times of each rank.
CLOCK_FILE = "clock.json"


class Fleet:
    """Starts groups on the hosts of a cluster; stands in for ``launch`` wherever that is called.

    Cases on one host are launched here as ever. Followers live as long as they answer: once a host
    is lost, all are given up, and the next launch has the engine start them again.

    Args:
        launcher: Name of the engine.
        hosts: The hosts with their slots, this one first; of Slurm's allocation without names.
        log: File that takes what the engine prints.
    """

    def __init__(self, launcher: str, hosts: Sequence[Host], log: Path) -> None:
        self.launcher, self.hosts, self.log = launcher, tuple(hosts), log
        self.links: list[Link] = []
        self.engine: ProcessGroup | None = None

    def __call__(self, request: LaunchRequest) -> Outcome:
        """Launches a case on the hosts that its devices need."""
        if request.case.hosts < 2:
            return launch(request)
        outcome = bounded(request, self._run)
        offsets = read_offsets(request.folder)
        return replace(outcome, records=on_one_clock(outcome.records, offsets))

    def close(self) -> None:
        """Lets the followers go and ends the engine."""
        for link in self.links:
            with suppress(LaunchError):
                link.tell("leave")
            hang_up(link.connection)
        self.links = []
        if self.engine:
            self.engine.end()
            self.engine.log.close()
            self.engine = None

    def about(self) -> list[dict[str, Any]]:
        """Returns what the hosts said of themselves, with their slots; empty before a launch."""
        return [
            link.about | {"slots": host.devices}
            for host, link in zip(self.hosts, self.links, strict=False)
        ]

    def _run(self, request: LaunchRequest, began: float) -> Ending:
        links = self._followers()[: request.case.hosts]
        try:
            return self._launch_on(request, links, began)
        finally:
            if any(link.problem() for link in links):
                self.close()

    def _launch_on(self, request: LaunchRequest, links: list[Link], began: float) -> Ending:
        # First of all, while no other answer of a host can lie in between.
        for link in links:
            link.clock = link.offset()
        ranks = self._prepare(request, links)
        try:
            self._go(links)
            ending = wait(
                ranks, request.folder, request.timeout_seconds, began=began,
                expects_records=request.expects_records,
                watch=lambda: _must_end(request.folder, links),
            )
            if ending.status == "timeout":
                where = self._post_mortem(request.folder, links, ranks)
                ending = ending._replace(reason=f"{ending.reason}: {where}")
            if ending.status == "ok":
                self._keep_clocks(request, links)
        finally:
            with undisturbed():
                survivors = self._end(links)
        if survivors:
            words = f"processes that SIGKILL did not end: {', '.join(survivors)}"
            reason = f"{ending.reason}; {words}".lstrip("; ")
            return Ending("failed", reason, ending.noticed_at_s)
        return ending

    def _prepare(self, request: LaunchRequest, links: list[Link]) -> list[RemoteRank]:
        """Tells each host its part; returns the ranks, which are not started yet."""
        (request.folder / "worker.log").touch()
        hosts = self._placed(request, links)
        where = places(hosts)
        ranks = [RemoteRank() for _ in where]
        inputs = request.inputs_path.read_bytes()
        fields = {
            "case": asdict(request.case), "hosts": [asdict(host) for host in hosts],
            "python": request.python, "worker": request.worker,
            "timeout_seconds": request.timeout_seconds, "settings": dict(request.settings),
        }
        for number, link in enumerate(links):
            link.folder = request.folder
            link.ranks = {rank: ranks[rank] for rank, place in enumerate(where)
                          if place.host == number}
            link.tell("prepare", inputs, mine=number, **fields)
        return ranks

    def _placed(self, request: LaunchRequest, links: list[Link]) -> list[Host]:
        """Gives the hosts their shares of the devices, with their addresses and free ports."""
        for link in links:
            link.tell("ports")
        ports = [tuple(link.answer("ports").fields["ports"]) for link in links]
        shares = dealt(request.case.devices, [host.devices for host in self.hosts[: len(links)]])
        return [
            Host(link.name, share, link.about["address"], link.about["interface"], free)
            for link, share, free in zip(links, shares, ports, strict=True)
        ]

    def _go(self, links: list[Link]) -> None:
        """Has every host start its ranks, once all are ready; a helper's variables go to all."""
        extra: dict[str, str] = {}
        for link in links:
            extra |= link.answer("ready").fields["extra"]
        for link in links:
            link.tell("go", extra=extra)

    def _post_mortem(
        self, folder: Path, links: list[Link], ranks: Sequence[RemoteRank]
    ) -> str:
        """Keeps every rank's Python stack in the log; returns where each was."""
        places = [
            failures.where(number, folder) + (failures.DONE if rank.poll() is not None else "")
            for number, rank in enumerate(ranks)
        ]
        for link in links:
            with suppress(LaunchError):
                link.tell("stacks")
        for link in links:
            with suppress(LaunchError):
                link.answer("stacks", STACKS_SECONDS)
        failures.keep_stacks(places, folder)
        return failures.still_busy(places, folder)

    def _keep_clocks(self, request: LaunchRequest, links: list[Link]) -> None:
        """Writes each rank's clock offset, the mean of those before and after the launch."""
        by_rank: dict[int, dict[str, float]] = {}
        for link in links:
            if link.clock:
                mean = ClockOffset.mean(link.clock, link.offset())
                by_rank |= dict.fromkeys(link.ranks, asdict(mean))
        write_atomically(request.folder / CLOCK_FILE, json.dumps(by_rank, indent=1))

    def _end(self, links: list[Link]) -> list[str]:
        """Ends the group on every host that answers; returns what is left there, in words."""
        for link in links:
            with suppress(LaunchError):
                link.tell("end")
        left = []
        for link in links:
            with suppress(LaunchError):
                found = link.answer("ended", END_SECONDS).fields["survivors"]
                left += [f"{pid} on {link.name}" for pid in found]
            link.folder = None
        return left

    def _followers(self) -> list[Link]:
        """Returns the hosts' followers in their order; has the engine start them if need be."""
        if self.links and not any(link.problem() for link in self.links):
            return self.links
        self.close()
        key = os.environ.get(KEY) or secrets.token_hex(32)
        address, port = self._meeting_point()
        with socket.create_server((address, port)) as door:
            self.engine = self._engine(door.getsockname()[:2], key)
            self.links = gather(door, key.encode(), len(self.hosts), self._engine_problem)
        return self.links

    def _meeting_point(self) -> tuple[str, int]:
        """Returns address and port at which the harness waits for the followers; 0 is any port."""
        if self.launcher == TORCHRUN:
            started = Started.read()
            # An operator may tell the first of its pods that this is "localhost".
            own = address_toward(socket.gethostname())
            return own if started.address == "localhost" else started.address, started.port
        return address_toward(self.hosts[-1].name or socket.gethostname()), 0

    def _engine(self, address: Sequence[object], key: str) -> ProcessGroup:
        """Starts the engine. Under torchrun the other hosts' followers run already."""
        follower = [sys.executable, "-m", "suite.launch.across.follower", *map(str, address)]
        command = follower if self.launcher == TORCHRUN else \
            ENGINES[self.launcher].command(self.hosts, follower)
        group = ProcessGroup(self.log.open("ab"), {**os.environ, KEY: key}, Path.cwd())
        try:
            group.start(command, {})
        except OSError as error:
            raise LaunchError(f"{command[0]} cannot be started ({error})") from error
        return group

    def _engine_problem(self) -> str:
        """Says how the engine ended; empty while it runs."""
        leader = self.engine.leaders[0] if self.engine else None
        if leader is None or leader.poll() is None:
            return ""
        said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = "; ".join(line.strip() for line in said[-3:] if line.strip())
        return f"{self.launcher} ended with code {leader.returncode}: {last}".rstrip(": ")


def _must_end(folder: Path, links: Sequence[Link]) -> Ending | None:
    """Tells whether a host cannot be reached any more, or the ranks flood their log."""
    if much := flooded(folder):
        return Ending.now("failed", f"the ranks wrote {much}")
    problem = next(filter(None, (link.problem() for link in links)), "")
    return Ending.now("failed", problem) if problem else None


def read_offsets(folder: Path) -> dict[int, ClockOffset]:
    """Reads the clock offsets by rank that the launch in ``folder`` kept; empty if it kept none."""
    try:
        written = json.loads((folder / CLOCK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {int(rank): ClockOffset(**offset) for rank, offset in written.items()}
