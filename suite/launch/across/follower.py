"""What runs on each host of a launch that spans hosts; the cluster's engine starts it.

    python -m suite.launch.across.follower ADDRESS PORT

It joins the harness at that address, starts this host's ranks of each launch it is told of, sends
their files and exit codes back, and ends when the harness ends or can no longer be reached. Nothing
that it started outlives it, and the hosts need no file system in common.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing.connection import Client, Connection
from typing import Any

import psutil

from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case
from suite.contract.errors import UsageError
from suite.contract.hosts import Host, SpansHosts, places
from suite.contract.manifests import manifest
from suite.contract.registry import traits_of
from suite.launch.across import on_ray
from suite.launch.across.channel import (
    BEAT_SECONDS,
    Message,
    give_up_when_unanswered,
    join_key,
    own_address,
    receive,
    send,
)
from suite.launch.across.mirror import LOG, Mirror
from suite.launch.environment import ROOT, worker_environment
from suite.launch.group import (
    LaunchError,
    LaunchRequest,
    refuse_wiring,
    start_helper,
)
from suite.launch.group import worker_command as command
from suite.launch.processes import ProcessGroup
from suite.launch.temporary import temporary_folder
from suite.machine import devices
from suite.machine.topology import share_of_cores

POLL_SECONDS = 0.02
# How many free ports a host offers beside one for each of its devices.
SPARE_PORTS = 8
# How long the harness may take to start, and to gather its followers anew.
START_SECONDS, RETURN_SECONDS = 120.0, 20.0
# How long a follower that was started for a run looks for its harness, which waits for it.
JOIN_SECONDS = 10.0
CASE, INPUTS = "case.json", "inputs"
Tell = Callable[..., None]


class HostShare:
    """This host's part of one launch: a folder of its own, its ranks, and a mirror of its files."""

    def __init__(self, message: Message, tell: Tell) -> None:
        self.tell = tell
        self.workers: dict[int, psutil.Popen] = {}
        self.ended: set[int] = set()
        fields = message.fields
        self.hosts = [Host(**host | {"ports": tuple(host["ports"])}) for host in fields["hosts"]]
        self.mine = int(fields["mine"])
        with ExitStack() as stack:
            temporary = stack.enter_context(temporary_folder())
            self.folder = temporary / "launch"
            self.folder.mkdir()
            self.log = stack.enter_context((self.folder / LOG).open("ab"))
            self.mirror = Mirror(self.folder, tell, (CASE, INPUTS))
            self.request = self._request(fields, message.payload)
            self.plan = self._planned()
            environment = worker_environment(
                traits_of(self.request.case.framework), temporary,
                peers=[name for host in self.hosts for name in (host.name, host.address)],
            )
            self.group = ProcessGroup(self.log, environment | dict(self.request.settings), ROOT)
            self._open = stack.pop_all()

    def _request(self, fields: dict[str, Any], inputs: bytes) -> LaunchRequest:
        case = Case.stored(fields["case"])
        case.write(self.folder / CASE)
        (self.folder / INPUTS).write_bytes(inputs)
        return LaunchRequest(
            case, self.folder / CASE, self.folder / INPUTS, self.folder,
            devices.allowed_cores(), timeout_seconds=fields["timeout_seconds"],
            python=fields["python"], worker=fields["worker"], settings=fields["settings"],
        )

    def _planned(self) -> LaunchPlan:
        case = self.request.case
        adapter = manifest(case.framework)
        if not isinstance(adapter, SpansHosts):
            raise LaunchError(f"the adapter {case.framework} does not start on several hosts")
        plan = adapter.launch_plan_on(case, self.folder, self.request.python, self.hosts)
        refuse_wiring(self.request, plan)
        return plan

    def prepare(self) -> dict[str, str]:
        """Starts the helper if this is the first host; returns what it tells every worker."""
        return start_helper(self.request, self.plan, self.group) if self.mine == 0 else {}

    def go(self, extra: dict[str, str]) -> None:
        """Starts this host's ranks, each on its share of the cores that this host's devices use."""
        mine = [rank for rank, place in enumerate(places(self.hosts)) if place.host == self.mine]
        count = len(mine)
        cores = list(self.request.cores)
        if self.request.case.device == "cpu":
            cores = cores[:count]
        for local, rank in enumerate(mine):
            line = command(self.request, rank, self.plan, share_of_cores(cores, local, count))
            environment = self.plan.environment[rank] | extra
            self.workers[rank] = self.group.start(line, environment)

    def tend(self) -> None:
        """Sends what is new; of a rank that has ended its exit code, after all its files."""
        codes = {rank: worker.poll() for rank, worker in self.workers.items()}
        self.mirror.update()
        for rank, code in codes.items():
            if code is not None and rank not in self.ended:
                self.ended.add(rank)
                self.tell("exit", rank=rank, code=code)

    def tell_stacks(self) -> None:
        """Has the ranks write their Python stacks, and sends them."""
        self.group.ask_for_stacks(list(self.workers.values()))
        self.mirror.update()
        self.tell("stacks")

    def end(self) -> list[int]:
        """Ends all processes and removes the folder; returns what even SIGKILL did not end."""
        survivors = self.group.end()
        self._open.close()
        return survivors


class Follower:
    """Serves one harness over one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.share: HostShare | None = None
        self.beat_at = 0.0

    def tell(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        """Sends a message to the harness."""
        send(self.connection, kind, payload, **fields)

    def serve(self) -> bool:
        """Works until the harness leaves, or cannot be reached any more; True if it said so."""
        self.tell("hello", **about_this_host(self.connection))
        try:
            while not (self.connection.poll(POLL_SECONDS) and self._left(receive(self.connection))):
                self._tend()
        except (EOFError, OSError):
            return False  # the harness is gone, and with it whoever could be told
        finally:
            self._end()
        return True

    def _tend(self) -> None:
        if self.share:
            self.share.tend()
        if time.monotonic() - self.beat_at > BEAT_SECONDS:
            self.beat_at = time.monotonic()
            self.tell("beat")

    def _left(self, message: Message) -> bool:
        """Does what a message asks for; True once the harness leaves."""
        kind = message.kind
        if kind == "clock":
            self.tell("time", seconds=time.perf_counter(), date=time.time())
        elif kind == "ports":
            self.tell("ports", ports=free_ports(SPARE_PORTS + len(devices.allowed_cores())))
        elif kind == "prepare":
            self._prepare(message)
        elif kind == "go" and self.share:
            self.share.go(message.fields["extra"])
        elif kind == "stacks" and self.share:
            self.share.tell_stacks()
        elif kind == "end":
            self.tell("ended", survivors=self._end())
        return kind == "leave"

    def _prepare(self, message: Message) -> None:
        """Prepares a launch; whatever goes wrong is told to the harness and ends this launch."""
        self._end()
        try:
            self.share = HostShare(message, self.tell)
            self.tell("ready", extra=self.share.prepare())
        except (LaunchError, OSError, UsageError, ValueError) as error:
            words = str(error) if isinstance(error, LaunchError) else \
                f"{type(error).__name__}: {error}"
            self.tell("refused", reason=words)

    def _end(self) -> list[int]:
        share, self.share = self.share, None
        return share.end() if share else []


def about_this_host(connection: Connection) -> dict[str, Any]:
    """Collects what the harness has to know of this host before it deals out ranks."""
    address = own_address(connection)
    return {
        "name": socket.gethostname(), "address": address, "interface": interface_of(address),
        "cores": len(devices.allowed_cores()), "gpus": devices.gpu_count(),
        "python": sys.executable, "number": place_given(),
    }


# Where engines tell a process which of its siblings it is; Ray's nodes may lie inside a Slurm job.
PLACES = (on_ray.PLACE, "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID", "HOROVOD_RANK", "RANK")


def place_given(environment: Mapping[str, str] = os.environ) -> int:
    """Returns which of the followers this is, by the variables of the engine that started it."""
    return next((int(environment[name]) for name in PLACES if name in environment), 0)


def interface_of(address: str) -> str:
    """Returns the network interface with that address; empty if none has it."""
    for name, found in psutil.net_if_addrs().items():
        if address in (one.address for one in found):
            return str(name)
    return ""


def free_ports(count: int) -> list[int]:
    """Returns TCP ports that nothing on this host uses now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("", 0))
        return [bound.getsockname()[1] for bound in sockets]


def join(address: str, port: int, patience_s: float = 0.0) -> Connection:
    """Connects to the harness, which may be up to ``patience_s`` late.

    Raises:
        OSError: Nobody listens there.
        UsageError: There is no key in the environment.
    """
    key = join_key()
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection = Client((address, port), family="AF_INET", authkey=key)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            give_up_when_unanswered(connection)
            return connection


def serve_until_told(address: str, port: int) -> None:
    """Serves a harness that may let its followers go and gather them again.

    It does so when it has lost one of them. A harness that does not come back has ended.

    Raises:
        OSError: The harness was never there.
    """
    told, patience_s = False, START_SECONDS
    while not told:
        try:
            connection = join(address, port, patience_s)
        except OSError:
            if patience_s != START_SECONDS:
                return
            raise
        with connection:
            told = Follower(connection).serve()
        patience_s = RETURN_SECONDS


def main() -> None:
    """Entry point of the process."""
    with join(sys.argv[1], int(sys.argv[2]), patience_s=JOIN_SECONDS) as connection:
        Follower(connection).serve()


if __name__ == "__main__":
    main()
