"""Containers of the image as hosts of one run, on the two hosts of ``tests.cluster``.

Each has a root file system, a network, a process table, a clock and a core of its own. buildah
starts them with chroot isolation, since a test may have no container engine.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import Cluster

FOLDER = "SUITE_CONTAINERS"
SUITE, WITH_MPI = "localhost/suite", "localhost/split-suite-mpi"


def why_no_containers() -> str:
    """Empty where the images have been built, and where is told."""
    if FOLDER not in os.environ:
        return f"no images: make container-hosts builds them and sets {FOLDER}"
    return ""


def buildah(*arguments: str) -> str:
    """Returns what buildah prints."""
    done = subprocess.run(["buildah", *arguments], env=environment(), capture_output=True,
                          text=True)
    assert done.returncode == 0, f"buildah {arguments}: {done.stderr}"
    return done.stdout.strip()


def environment() -> dict[str, str]:
    """What tells buildah where the images are."""
    folder = Path(os.environ[FOLDER]).resolve()
    return {**os.environ, "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")}


@dataclass(frozen=True)
class Container:
    """One container: a root file system made from an image.

    Attributes:
        name: What buildah calls it.
        hostname: What it calls itself.
        mounted: Paths inside, and what lies there.
    """

    name: str
    hostname: str
    mounted: Mapping[str, Path]

    def command(
        self, words: Sequence[str], user: str, variables: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command line that runs ``words`` inside, in the network that it is started in."""
        volumes = [f"--volume={path}:{inside}" for inside, path in self.mounted.items()]
        given = [f"--env={name}={value}" for name, value in (variables or {}).items()]
        return ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child", "buildah", "run",
                "--no-hosts", "--hostname", self.hostname, "--user", user, *volumes, *given,
                self.name, "--", *words]

    def on(
        self, hosts: Cluster, number: int, words: Sequence[str], user: str,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts it on one of the hosts."""
        return subprocess.Popen(
            [*hosts.prefixes[number], *self.command(words, user, variables)], env=environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )


@contextmanager
def container(
    image: str, hostname: str, mounted: Mapping[str, Path] | None = None
) -> Iterator[Container]:
    """A container of the image for as long as the context lasts."""
    name = buildah("from", image)
    try:
        yield Container(name, hostname, mounted or {})
    finally:
        buildah("rm", name)


def names_file(path: Path, names: Sequence[Sequence[str]]) -> Path:
    """Writes ``/etc/hosts`` of all hosts: the names of each, in their order."""
    lines = ["127.0.0.1 localhost"]
    lines += [f"10.200.0.{number} {' '.join(each)}" for number, each in enumerate(names, 1)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
