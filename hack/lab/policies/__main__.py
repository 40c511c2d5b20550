"""The enforcer's process: started by `hack/cluster up` inside the cluster's network namespace."""

import argparse
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from hack.lab.policies import attachments
from hack.lab.policies.follower import Follower
from hack.lab.policies.rules import isolated_pods, script
from hack.lab.policies.state import observed

_PATHS = ("/api/v1/pods", "/api/v1/namespaces", "/apis/networking.k8s.io/v1/networkpolicies")
_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_RETRY_SECONDS = 1.0


def main() -> NoReturn:
    """Keep the rules as the policies say, until the process is ended; what is in force stays."""
    parser = argparse.ArgumentParser("policy-enforcer", description=__doc__)
    for name in ("authority", "certificate", "key", "attachments"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--network", required=True, help="name of the pods' network, as CNI knows it")
    options = parser.parse_args()
    tls = ssl.create_default_context(cafile=str(options.authority))
    tls.load_cert_chain(options.certificate, options.key)
    if not _BRIDGED.exists():
        sys.exit("the kernel has no bridge netfilter: load br_netfilter, or use `up --no-network-policies`")
    # Without it, packets from pod to pod stay on the bridge, below the hooks.
    _BRIDGED.write_text("1")
    changed = threading.Event()
    followers = [Follower(path, tls, changed.set, _say) for path in _PATHS]
    watched = attachments.Changes(options.attachments)
    for follow in (*(follower.run for follower in followers), lambda: _tell(watched, changed)):
        threading.Thread(target=follow, daemon=True).start()
    applied = ""
    while True:
        changed.wait()
        changed.clear()
        if not all(follower.synced for follower in followers):
            continue
        pods, namespaces, policies = (follower.objects() for follower in followers)
        state = observed(pods, namespaces, policies, attachments.read(options.attachments, options.network))
        wanted = script(state)
        if wanted == applied:
            continue
        if _apply(wanted):
            applied = wanted
            limited = len(
                {each.pod.address for kind in ("egress", "ingress") for each in isolated_pods(state, kind)}
            )
            _say(f"{len(policies)} policies limit {limited} of {len(state.pods)} pods")
        else:
            time.sleep(_RETRY_SECONDS)
            changed.set()


def _tell(watched: attachments.Changes, changed: threading.Event) -> NoReturn:
    while True:
        watched.wait()
        changed.set()


def _apply(rules: str) -> bool:
    """Put the rules in force, all or none of them."""
    ran = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False)
    if ran.returncode:
        _say(f"nft refused the rules, the former ones stay: {ran.stderr.strip()}")
    return ran.returncode == 0


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
