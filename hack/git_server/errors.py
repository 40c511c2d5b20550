"""What the git server raises."""


class GitServerError(Exception):
    """The server or a program that it needs failed; the message says how."""
