"""A git server for tests and the demo: SSH with keys (a real sshd) and HTTPS with passwords, on one machine."""

from hack.git_server.errors import GitServerError
from hack.git_server.server import GitServer
from hack.git_server.ssh import KeyPair, generate_key

__all__ = ["GitServer", "GitServerError", "KeyPair", "generate_key"]
