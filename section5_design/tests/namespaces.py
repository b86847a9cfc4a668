"""Servers on one machine as if on several: each in its own network namespace, which can be cut off."""

import ctypes
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from system import needs

CLONE_NEWNET = 0x40000000


def find_ip() -> str:
    """Return the path of ip; skip the test if nobody may make a namespace."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a network namespace")
    return needs("ip", "iproute2", path="/usr/sbin:/sbin:/usr/bin")


@contextmanager
def own_network() -> Iterator[None]:
    """Move this thread, and what it starts, into a new network namespace.

    Interfaces that come and go on the machine itself would interrupt the browsers of other tests (ERR_NETWORK_CHANGED).
    """
    ip, libc = find_ip(), ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            subprocess.run([ip, "link", "set", "lo", "up"], check=True)
            yield
        finally:
            libc.setns(before.fileno(), CLONE_NEWNET)


class Network:
    """Namespaces on a bridge, each with an address; this side is .1."""

    def __init__(self, members: Mapping[str, int]) -> None:
        """Name the members, each with the last byte of its address."""
        self._members = members
        self._ip = find_ip()
        self.tag = f"s5{os.getpid() % 100000}"
        self._network = "10.215.0"

    def address(self, name: str) -> str:
        return f"{self._network}.{self._members[name]}"

    def inside(self, name: str) -> list[str]:
        """Return how a command runs in the namespace of a member."""
        return [self._ip, "netns", "exec", self.tag + name]

    @contextmanager
    def made(self) -> Iterator[None]:
        """Make the network, in which this thread then is, and remove it."""
        with own_network():
            try:
                self._make()
                yield
            finally:
                for name in self._members:
                    subprocess.run([self._ip, "netns", "delete", self.tag + name], capture_output=True, check=False)

    def pids(self, name: str) -> list[int]:
        """Return the processes in a namespace."""
        done = subprocess.run([self._ip, "netns", "pids", self.tag + name], capture_output=True, text=True, check=False)
        return [int(pid) for pid in done.stdout.split()]

    def _run(self, *words: str) -> None:
        subprocess.run([self._ip, *words], check=True, capture_output=True)

    def _line(self, name: str) -> str:
        return f"{self.tag}{name[0]}{name[-1]}"

    def _make(self) -> None:
        self._run("link", "add", self.tag, "type", "bridge")
        self._run("addr", "add", f"{self._network}.1/24", "dev", self.tag)
        self._run("link", "set", self.tag, "up")
        for name in self._members:
            inside = self.tag + name
            self._run("netns", "add", inside)
            self._run("link", "add", self._line(name), "type", "veth", "peer", "name", "eth0", "netns", inside)
            self._run("link", "set", self._line(name), "master", self.tag, "up")
            self._run("-n", inside, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                self._run("-n", inside, "link", "set", device, "up")

    def cut(self, name: str) -> None:
        """Cut a member off from all."""
        self._run("link", "set", self._line(name), "down")

    def mend(self, name: str) -> None:
        self._run("link", "set", self._line(name), "up")

    def cut_from(self, name: str, *others: str) -> None:
        """Cut a member off from others; without any, from this side, where the clients are."""
        for address in self._addresses(others):
            self._run("-n", self.tag + name, "route", "add", "blackhole", f"{address}/32")

    def mend_from(self, name: str, *others: str) -> None:
        for address in self._addresses(others):
            self._run("-n", self.tag + name, "route", "delete", "blackhole", f"{address}/32")

    def _addresses(self, others: tuple[str, ...]) -> list[str]:
        return [self.address(other) for other in others] or [f"{self._network}.1"]
