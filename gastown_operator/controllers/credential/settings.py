"""What the operator's command line decides about credentials."""

from typing import Final

from attrs import frozen

#: Where Claude Code refreshes its tokens, and what it is registered as there (its own constants TOKEN_URL and CLIENT_ID).
DEFAULT_ENDPOINT: Final = "https://platform.claude.com/v1/oauth/token"
DEFAULT_CLIENT_ID: Final = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"


@frozen(kw_only=True)
class CredentialSettings:
    """The Secrets that the operator may read, and how it refreshes OAuth tokens.

    Attributes:
        names: the only Secrets that are read.
        namespace: the operator's own, where they are.
        endpoint: token endpoint, unless a Secret's annotation names another.
        client_id: what the refresh tokens were issued to, unless a Secret's annotation says otherwise.
    """

    names: tuple[str, ...] = ()
    namespace: str = ""
    endpoint: str = DEFAULT_ENDPOINT
    client_id: str = DEFAULT_CLIENT_ID
