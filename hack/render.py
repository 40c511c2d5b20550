"""Prints the manifests of the deployment with the images that shall run: `python3 hack/render.py --help`.

Standard library only: it runs wherever `make deploy` does. The manifests are complete as they are; only the names of images
are replaced.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

MANIFESTS = Path(__file__).resolve().parents[1] / "manifests/deploy"
# In the order in which they are applied.
FILES = ("namespaces.yaml", "work-namespace.yaml", "rbac.yaml", "user-roles.yaml", "operator.yaml")
# What `make undeploy` leaves: the namespace with the users' work.
KEPT = ("work-namespace.yaml",)
DEFAULTS = {
    "operator": "localhost/gastown-operator:dev",
    "workload": "localhost/gastown-workload:dev",
    "agent": "localhost/gastown-agent:dev",
}
# What a reference to an image can look like (distribution/reference), so that no other YAML gets in.
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?")


def image(text: str) -> str:
    """Return `text` if it can be the name of an image."""
    if not IMAGE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an image")
    return text


def render(images: Mapping[str, str], files: Sequence[str] = FILES) -> str:
    """Return the manifests of `files` as one stream of documents, with `images` in the place of DEFAULTS."""
    text = "---\n".join((MANIFESTS / name).read_text() for name in files)
    wanted = {default: images.get(name, default) for name, default in DEFAULTS.items()}
    return re.sub("|".join(map(re.escape, wanted)), lambda found: wanted[found.group()], text)


def main() -> None:
    """Print the manifests."""
    parser = argparse.ArgumentParser(
        prog="hack/render.py", description="Prints the manifests of the deployment."
    )
    for name, default in DEFAULTS.items():
        parser.add_argument(
            f"--{name}", type=image, default=default, metavar="IMAGE", help=f"default: {default}"
        )
    parser.add_argument(
        "--removable", action="store_true", help="leave out the namespace with the users' work"
    )
    options = parser.parse_args()
    files = [name for name in FILES if not (options.removable and name in KEPT)]
    sys.stdout.write(render({name: getattr(options, name) for name in DEFAULTS}, files))


if __name__ == "__main__":
    main()
