"""Attacks through sockets: the host's loopback, its unix sockets, and families that reach into the kernel."""

from __future__ import annotations

import socket

from tests.attacks.agents.attempt import Attempt

SECONDS = 5


def tcp_to_loopback(attempt: Attempt) -> str:
    attempt.begin()
    with socket.create_connection(("127.0.0.1", attempt.given["tcp"]), SECONDS) as peer:
        return peer.recv(64).decode()


def tcp_to_the_hosts_address(attempt: Attempt) -> str:
    """Without a name: whoever connects to 0.0.0.0 comes to loopback."""
    attempt.begin()
    with socket.socket() as peer:
        peer.settimeout(SECONDS)
        peer.connect(("0.0.0.0", attempt.given["tcp"]))  # noqa: S104 - an attack's way to loopback.
        return peer.recv(64).decode()


def udp_to_loopback(attempt: Attempt) -> str:
    attempt.begin()
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.settimeout(SECONDS)
        peer.sendto(b"?", ("127.0.0.1", attempt.given["udp"]))
        return peer.recv(64).decode()


def listen(attempt: Attempt) -> str:
    attempt.begin()
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def path_socket(attempt: Attempt) -> str:
    return _unix(attempt, attempt.given["path_socket"])


def abstract_socket(attempt: Attempt) -> str:
    return _unix(attempt, "\0" + attempt.given["abstract_socket"])


def connect_a_socket_of_a_pair(attempt: Attempt) -> str:
    """Make a pair, which needs no socket(), and take one end of it to another address."""
    attempt.begin()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.settimeout(SECONDS)
        one.connect("\0" + attempt.given["abstract_datagram"])
        one.send(b"?")
        return "sent"


def send_to_an_address(attempt: Attempt) -> str:
    """As before, without connecting: sendto is allowed, for the guest's own socket."""
    attempt.begin()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.settimeout(SECONDS)
        one.sendto(b"?", "\0" + attempt.given["abstract_datagram"])
        return "sent"


def send_to_a_path(attempt: Attempt) -> str:
    attempt.begin()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.settimeout(SECONDS)
        one.sendto(b"?", attempt.given["path_datagram"])
        return "sent"


def open_family(attempt: Attempt) -> str:
    family = getattr(socket, attempt.given["family"])
    kind = getattr(socket, attempt.given["type"])
    attempt.begin()
    with socket.socket(family, kind) as opened:
        return f"descriptor {opened.fileno()}"


def _unix(attempt: Attempt, address: str) -> str:
    attempt.begin()
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(SECONDS)
        peer.connect(address)
        return peer.recv(64).decode()
