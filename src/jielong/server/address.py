"""Where a server listens."""

import ipaddress
import socket

from jielong.core.errors import JielongError, UsageError


def listen(host: str, port: int) -> socket.socket:
    """Take an address and port for a server; port 0 takes a free one.

    Raises:
        JielongError: if there is no such address here, or the port is not free.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        raise JielongError(f"cannot serve at {host} port {port}: {error.strerror}") from None
    return taken


def is_loopback(taken: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(taken.getsockname()[0].partition("%")[0]).is_loopback


def address_of(taken: socket.socket) -> str:
    """The URL of a socket."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
