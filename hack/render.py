"""Prints the manifests of the deployment with the images that shall run: `python3 hack/render.py --help`.

Standard library only: it runs wherever `make deploy` does; `--args` and `--model-prices` need the operator's packages too, because
the operator's own parser looks at them before anything is applied. The manifests are complete as they are; only the names of images
are replaced.
"""

import argparse
import hashlib
import json
import re
import shlex
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
PRICES = "/etc/gastown/model-prices"
PRICES_FILE = "prices.json"
PRICES_CONFIG_MAP = "gastown-model-prices"
# What `make undeploy` leaves: the namespace with the users' work.
KEPT = ("work-namespace.yaml",)
DEFAULTS = {
    "operator": "localhost/gastown-operator:dev",
    "workload": "localhost/gastown-workload:dev",
    "agent": "localhost/gastown-agent:dev",
}
# What else of the manifests goes with an option, so that the option alone would not do.
ELSEWHERE = {
    "--workload-image": "WORKLOAD_IMG",
    "--agent-image": "AGENT_IMG",
    "--namespaces": "NAMESPACES",
    "--credentials": "CREDENTIALS",
    "--metrics-secure": "METRICS_SECRET",
    "--metrics-cert-path": "METRICS_SECRET",
    "--model-prices": "MODEL_PRICES",
}
INCOMPLETE = (
    "images of three kinds belong together, and those of the lab are on no other cluster: give IMG=, WORKLOAD_IMG= and AGENT_IMG=, "
    "or none of them on a lab cluster"
)
ELECT = "            - --leader-elect\n"
PORTS = "          ports:\n            - name: metrics\n"
CONTAINERS = "      containers:\n"
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\n"
TEMPLATE = "  template:\n    metadata:\n"
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


def checked(arguments: Sequence[str], prices: Path | None) -> str:
    """Return the prices in `prices`, if the operator would start with these options. Raises ValueError; the parser may end the program."""
    for argument in arguments:
        name = argument.split("=")[0]
        if name in ELSEWHERE:
            raise ValueError(f"{name} is no option for ARGS: make deploy {ELSEWHERE[name]}=…")
        if not (argument.isascii() and argument.isprintable()):
            raise ValueError(f"{argument!r} is not printable ASCII")
    sys.path.insert(0, str(MANIFESTS.parents[1]))
    from gastown_operator.command_line import operator_parser  # noqa: PLC0415 - all else needs no package

    # What stands after them in the manifest does here too, so that `--` is refused.
    after = [f"--model-prices={prices}"] if prices else ["--leader-elect"]
    try:
        text: str = operator_parser().parse_args(["--workload-image=x", *arguments, *after]).model_prices
    except SystemExit as end:
        if end.code:
            raise
        raise ValueError("what only prints something is no option of a deployment") from None
    return text


def render(
    images: Mapping[str, str],
    files: Sequence[str] = FILES,
    only_in: Sequence[str] = (),
    metrics_secret: str | None = None,
    credentials: Sequence[str] = (),
    arguments: Sequence[str] = (),
    prices: str = "",
) -> str:
    """Return the manifests of `files` as one stream of documents, with `images` in the place of DEFAULTS.

    With `only_in`, the operator watches these namespaces alone, and has rights in no other. With `metrics_secret`, it serves its
    metrics over TLS with that Secret's certificate, to whom RBAC lets. `credentials` are the Secrets that it may read and mirror.
    `arguments` are further options of the operator; `prices` is what its --model-prices reads.
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
        text = text.replace(
            ELECT,
            f"{ELECT}            - --metrics-secure\n            - --metrics-cert-path={CERTIFICATES}\n",
        )
    if prices:
        text = _priced(text, prices)
    text = _mounted(text, metrics_secret, prices)
    wanted = {default: images.get(name, default) for name, default in DEFAULTS.items()}
    text = re.sub("|".join(map(re.escape, wanted)), lambda found: wanted[found.group()], text)
    # The kubelet replaces $(NAME) in arguments, and $$ by $. JSON of printable ASCII is YAML.
    further = "".join(f"            - {json.dumps(each.replace('$', '$$'))}\n" for each in arguments)
    return text.replace(ELECT, ELECT + further)


def _priced(text: str, prices: str) -> str:
    """Add the ConfigMap with the prices; its digest in the pods makes new ones of them when the prices change.

    As Helm's charts name it: annotations of gastown.io are for polecats' pods alone, by admission-policies.yaml.
    """
    # Again as JSON, which is printable ASCII then; json.dumps of that is a YAML string.
    plain = json.dumps(json.loads(prices, parse_float=str, parse_int=str), indent=2, sort_keys=True) + "\n"
    digest = hashlib.sha256(plain.encode()).hexdigest()
    text = text.replace(ELECT, f"{ELECT}            - --model-prices={PRICES}/{PRICES_FILE}\n")
    text = text.replace(TEMPLATE, f"{TEMPLATE}      annotations: {{checksum/model-prices: {digest}}}\n")
    config = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {PRICES_CONFIG_MAP}\n"
        "  namespace: gastown-system\n  labels:\n    app.kubernetes.io/name: gastown-operator\n"
        "    app.kubernetes.io/component: operator\n"
        f"data:\n  {PRICES_FILE}: {json.dumps(plain)}\n---\n"
    )
    return text.replace(DEPLOYMENT, config + DEPLOYMENT)


def _mounted(text: str, metrics_secret: str | None, prices: str) -> str:
    """Mount what the operator's options name into its container."""
    volumes = []
    if metrics_secret:
        volumes.append(("metrics-certificate", CERTIFICATES, f"secret: {{secretName: {metrics_secret}}}"))
    if prices:
        volumes.append(("model-prices", PRICES, f"configMap: {{name: {PRICES_CONFIG_MAP}}}"))
    if not volumes:
        return text
    mounts = "".join(
        f"            - {{name: {name}, mountPath: {path}, readOnly: true}}\n" for name, path, _ in volumes
    )
    sources = "".join(f"        - {{name: {name}, {source}}}\n" for name, _, source in volumes)
    text = text.replace(PORTS, f"          volumeMounts:\n{mounts}{PORTS}")
    return text.replace(CONTAINERS, f"      volumes:\n{sources}{CONTAINERS}")


def _parts(name: str, only_in: Sequence[str]) -> list[str]:
    """Return the documents that a file stands for in this scope."""
    everywhere = {"scope-cluster.yaml": SCOPED, "credentials-scope-cluster.yaml": ENTRUSTED_IN}
    if name not in everywhere or not only_in:
        return [(MANIFESTS / name).read_text()]
    *once, binding = ((MANIFESTS / each).read_text() for each in everywhere[name])
    return [*once, *(binding.replace(WORKERS, f"namespace: {each}\n") for each in only_in)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hack/render.py", description="Prints the manifests of the deployment."
    )
    for name, default in DEFAULTS.items():
        parser.add_argument(
            f"--{name}", type=image, metavar="IMAGE", help=f"all three or none (default: {default})"
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
    parser.add_argument(
        "--model-prices",
        type=Path,
        metavar="FILE",
        help="JSON with prices of models (default: the known ones)",
    )
    parser.add_argument(
        "--args",
        default="",
        metavar="OPTIONS",
        help="further options of the operator, as a shell splits them (docs/reference/options.md)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the manifests; ends the program where something is wrong with the options."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.policies:
        sys.stdout.write(render({}, POLICIES))
        return
    images = {name: getattr(options, name) for name in DEFAULTS if getattr(options, name)}
    if images and len(images) < len(DEFAULTS):
        parser.error(INCOMPLETE)
    try:
        arguments = shlex.split(options.args)
        prices = checked(arguments, options.model_prices) if arguments or options.model_prices else ""
    except ValueError as error:
        parser.error(str(error))
    except ImportError as error:
        parser.error(
            f"ARGS and MODEL_PRICES need the operator's packages, which hack/environment installs: {error}"
        )
    files = [name for name in FILES if not (options.removable and name in KEPT)]
    sys.stdout.write(
        render(
            images,
            files,
            options.namespaces,
            options.metrics_secret,
            options.credentials,
            arguments,
            prices,
        )
    )


if __name__ == "__main__":
    main()
