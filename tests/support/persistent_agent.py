"""An agent that asks its model the same again and again until that has had enough, and leaves in its work tree how it was answered.

It ends at the first answer that is none: whatever an agent would notice of a credential that is not good.
"""

import json
import os
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

#: Sparse, since many of them share a small machine with their model.
SECONDS = 4.0
ENOUGH = "That is all."
STATUSES = Path("statuses.txt")


def ask() -> str:
    """Return what the model says. Raises HTTPError where it says nothing."""
    body = {"model": "scripted", "max_tokens": 8, "messages": [{"role": "user", "content": "Is that all?"}]}
    request = urllib.request.Request(  # noqa: S310 - the operator says where
        os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
        json.dumps(body).encode(),
        {
            "Content-Type": "application/json",
            "User-Agent": socket.gethostname(),
            "X-Api-Key": os.environ["ANTHROPIC_API_KEY"],
        },
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
        return str(json.load(answer)["content"][0]["text"])


def main() -> None:
    """Ask until the model has had enough."""
    statuses = []
    said = ""
    while said != ENOUGH:
        if said:
            time.sleep(SECONDS)
        try:
            said = ask()
        except urllib.error.HTTPError as error:
            raise SystemExit(f"answered with {error.code}: {error.read().decode()}") from error
        statuses.append("200")
    STATUSES.write_text("\n".join(statuses) + "\n")


if __name__ == "__main__":
    main()
