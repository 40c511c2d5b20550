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
FILES = (
    "namespaces.yaml",
    "work-namespace.yaml",
    "rbac.yaml",
    "scope-cluster.yaml",
    "user-roles.yaml",
    "operator.yaml",
)
# What takes the place of scope-cluster.yaml where the operator works in some namespaces only; the second once for each.
SCOPED = ("scope-events.yaml", "scope-namespace.yaml")
# What is added where the metrics are served over TLS, to whom RBAC lets.
SECURED = ("metrics-access.yaml",)
# What is added where the operator has credentials to mirror, and what takes the place of the second where it works in some namespaces.
ENTRUSTED = ("credentials-access.yaml", "credentials-scope-cluster.yaml")
ENTRUSTED_IN = ("credentials-scope-namespace.yaml",)
# What is applied only where the server has ValidatingAdmissionPolicies in v1: elsewhere it would make all of it fail.
POLICIES = ("admission-policies.yaml",)
CERTIFICATES = "/etc/gastown/metrics-certificate"
# What `make undeploy` leaves: the namespace with the users' work.
KEPT = ("work-namespace.yaml",)
DEFAULTS = {
    "operator": "localhost/gastown-operator:dev",
    "workload": "localhost/gastown-workload:dev",
    "agent": "localhost/gastown-agent:dev",
}
ELECT = "            - --leader-elect\n"
WORKERS = "namespace: gastown-workers\n"
SECRET = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")  # RFC 1123 subdomain
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123 label
# What a reference to an image can look like (distribution/reference), so that no other YAML gets in.
IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*(@sha256:[0-9a-f]{64})?")


def image(text: str) -> str:
    """Return `text` if it can be the name of an image."""
    if not IMAGE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an image")
    return text


def namespaces(text: str) -> tuple[str, ...]:
    """Return the namespaces of a list with commas, if they can be names of namespaces."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    wrong = [name for name in names if not NAMESPACE.fullmatch(name)]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is no name of a namespace")
    return names


def secret(text: str) -> str:
    """Return `text` if it can be the name of a Secret."""
    if not SECRET.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a Secret")
    return text


def secrets(text: str) -> tuple[str, ...]:
    """Return the Secrets of a list with commas, if they can be names of Secrets."""
    return tuple(dict.fromkeys(secret(name.strip()) for name in text.split(",")))


def render(
    images: Mapping[str, str],
    files: Sequence[str] = FILES,
    only_in: Sequence[str] = (),
    metrics_secret: str | None = None,
    credentials: Sequence[str] = (),
) -> str:
    """Return the manifests of `files` as one stream of documents, with `images` in the place of DEFAULTS.

    With `only_in`, the operator watches these namespaces alone, and has rights in no other. With `metrics_secret`, it serves its
    metrics over TLS with that Secret's certificate, to whom RBAC lets. `credentials` are the Secrets that it may read and mirror.
    """
    files = (*files, *SECURED) if metrics_secret else files
    files = (*files, *ENTRUSTED) if credentials else files
    text = "---\n".join(part for name in files for part in _parts(name, only_in))
    if only_in:
        text = text.replace(ELECT, f"{ELECT}            - --namespaces={','.join(only_in)}\n")
    if credentials:
        names = f"resourceNames: [{', '.join(credentials)}]"
        text = text.replace(ELECT, f"{ELECT}            - --credentials={','.join(credentials)}\n")
        text = text.replace("resourceNames: [NAME]", names)
    if metrics_secret:
        text = _secured(text, metrics_secret)
    wanted = {default: images.get(name, default) for name, default in DEFAULTS.items()}
    return re.sub("|".join(map(re.escape, wanted)), lambda found: wanted[found.group()], text)


def _secured(text: str, name: str) -> str:
    """Mount the Secret into the operator's container, and name its directory."""
    for anchor, before, after in (
        (ELECT, "", f"            - --metrics-secure\n            - --metrics-cert-path={CERTIFICATES}\n"),
        (
            "          ports:\n",
            f"          volumeMounts:\n            - {{name: metrics-certificate, mountPath: {CERTIFICATES}}}\n",
            "",
        ),
        (
            "      containers:\n",
            f"      volumes:\n        - {{name: metrics-certificate, secret: {{secretName: {name}}}}}\n",
            "",
        ),
    ):
        text = text.replace(anchor, before + anchor + after)
    return text


def _parts(name: str, only_in: Sequence[str]) -> list[str]:
    """Return the documents that a file stands for in this scope."""
    everywhere = {"scope-cluster.yaml": SCOPED, "credentials-scope-cluster.yaml": ENTRUSTED_IN}
    if name not in everywhere or not only_in:
        return [(MANIFESTS / name).read_text()]
    *once, binding = ((MANIFESTS / each).read_text() for each in everywhere[name])
    return [*once, *(binding.replace(WORKERS, f"namespace: {each}\n") for each in only_in)]


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
    parser.add_argument(
        "--policies",
        action="store_true",
        help="the admission policies instead, for Kubernetes 1.30 and later",
    )
    parser.add_argument(
        "--namespaces",
        type=namespaces,
        default=(),
        metavar="A,B",
        help="work in these namespaces alone, with no rights in others (default: all)",
    )
    parser.add_argument(
        "--metrics-secret",
        type=secret,
        metavar="NAME",
        help="a Secret of type kubernetes.io/tls in gastown-system: serve the metrics over TLS, to whom RBAC lets (default: plain HTTP)",
    )
    parser.add_argument(
        "--credentials",
        type=secrets,
        default=(),
        metavar="A,B",
        help="Secrets in gastown-system that the operator mirrors to where rigs work, and whose OAuth tokens it refreshes (default: none)",
    )
    options = parser.parse_args()
    if options.policies:
        sys.stdout.write(render({}, POLICIES))
        return
    files = [name for name in FILES if not (options.removable and name in KEPT)]
    sys.stdout.write(
        render(
            {name: getattr(options, name) for name in DEFAULTS},
            files,
            options.namespaces,
            options.metrics_secret,
            options.credentials,
        )
    )


if __name__ == "__main__":
    main()
