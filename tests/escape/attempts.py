"""The attempts to escape, in one list: the tests make each of them twice, and docs/security.md shows the list."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from attrs import frozen

Test = TypeVar("Test", bound=Callable[..., None])
_MADE: Final[dict[Callable[..., Any], tuple[str, ...]]] = {}


@frozen
class Attempt:
    """One way out.

    Attributes:
        name: what the tests call it.
        attack: what is tried.
        protected: what comes of it in a polecat's pod, or with a Rig as it is by default.
        unprotected: what it wins in the variant without protection that the tests build.
    """

    name: str
    attack: str
    protected: str
    unprotected: str


#: Made by a program in the place of the agent (`hostile_agent.py`).
REACH: Final[Sequence[Attempt]] = (
    Attempt(
        "git-credential",
        "find the git key in any file that can be read",
        "there is none in the agent's container",
        "the key, where its Secret is mounted into the agent",
    ),
    Attempt(
        "model-credential",
        "find the model's key in any file or variable",
        "only the gateway's container has it",
        "the key, where its Secret is a variable of the agent",
    ),
    Attempt(
        "other-environments",
        "read the environment of other containers' processes through /proc",
        "the agent sees its own processes alone",
        "it, where the pod shares its processes",
    ),
    Attempt(
        "other-files",
        "read other containers' files through /proc/PID/root",
        "the agent sees its own processes alone",
        "the git key, where the pod shares its processes",
    ),
    Attempt(
        "api-token",
        "find a token of the Kubernetes API",
        "none is mounted",
        "a token, where it is mounted automatically",
    ),
    Attempt(
        "control-volume",
        "write the prompt, the stop request or the gateway's record",
        "the volume is read-only for the agent",
        "written, where the volume is not read-only",
    ),
    Attempt(
        "above-the-clone",
        "write beside the clone, to replace it by a link",
        "only the clone is mounted",
        "written, where the whole workspace is mounted",
    ),
    Attempt(
        "root",
        "write to the image's own programs",
        "the agent runs as a user without rights",
        "written, by a pod of root in a namespace without PodSecurity",
    ),
    Attempt(
        "another-branch",
        "push to another branch with whatever credential was found",
        "no credential, no push",
        "pushed, with the key that was found",
    ),
)
#: Set in the agent's repository, for whoever runs git in it beside the credential (`traps.py`).
TRAPS: Final[Sequence[Attempt]] = tuple(
    Attempt(
        name,
        attack,
        "caught only the agent's own git"
        if name != "git"
        else "never run: the keeper looks for programs in the image alone",
        "caught a keeper that runs git in the agent's repository",
    )
    for name, attack in (
        ("pre-commit", "hook pre-commit"),
        ("post-commit", "hook post-commit"),
        ("reference-transaction", "hook reference-transaction"),
        ("pre-push", "hook pre-push"),
        ("post-checkout", "hook post-checkout"),
        ("post-index-change", "hook post-index-change"),
        ("fsmonitor", "core.fsmonitor"),
        ("filter", "a clean filter for every file"),
        ("ssh", "core.sshCommand"),
        ("helper", "credential.helper"),
        ("submodule", "submodule.NAME.update with a command"),
        ("git", "a program named git in the work tree"),
    )
)
#: What the agent leaves in its work tree for the keeper to follow (`test_deception.py`).
DECEPTION: Final[Sequence[Attempt]] = (
    Attempt(
        "symlinks",
        "links in the work tree to the git key and out of the workspace",
        "the links themselves are committed; no byte of what they point to",
        "the key is copied, where links are followed beside it",
    ),
    Attempt(
        "links-for-files",
        "links to the git key in the place of .git/HEAD, of the refs, the transcript and the report",
        "not followed: the repository counts as unreadable, its files are delivered",
        "the key is read, where .git/HEAD and the refs are read through links",
    ),
    Attempt(
        "submodule-url",
        "a submodule whose URL runs a command, or is another repository",
        "nothing is fetched; the text of .gitmodules is committed",
        "the command runs and the repository is asked for, where git updates submodules beside the credential",
    ),
)
#: What the agent writes where others say how it ended (`test_forgery.py`).
FORGERY: Final[Sequence[Attempt]] = (
    Attempt(
        "termination-message",
        "a termination message of the agent's container that says the work was pushed",
        "read by nobody: the status says what the keeper saw on the remote",
        "judged as success, where it stands in the keeper's place",
    ),
    Attempt(
        "forged-exit",
        "the wrapper's report, overwritten for ever by a process that stays behind",
        "the wrapper ends every process before it reports; the container's own exit status decides",
        "delivered as success by the keeper, where no wrapper reports; even then the operator looks at the exit status",
    ),
    Attempt(
        "forged-transcript",
        "a transcript in which the program says that it succeeded",
        "a hint: the exit status decides",
        "delivered as success by the keeper, where the report is forged as well; with an honest transcript it is not",
    ),
    Attempt(
        "forged-record",
        "the gateway's record without the model's refusal",
        "the volume is read-only for the agent: the provider refuses the credential",
        "delivered and judged as success, where the volume is not read-only",
    ),
)
_DROPPED: Final = "no answer: the NetworkPolicy of the rig drops it"
_REACHED: Final = "reached from the pod of a rig with `network.enforce: false`"
#: Made from the agent's container, on a node that enforces NetworkPolicies (`tests/node/test_network_policies.py`).
NETWORK: Final[Sequence[Attempt]] = (
    Attempt(
        "metadata", "connect to the address where clouds hand out the node's identity", _DROPPED, _REACHED
    ),
    Attempt("api-server", "connect to the Kubernetes API", _DROPPED, _REACHED),
    Attempt("node", "connect to a port of the node", _DROPPED, _REACHED),
    Attempt("another-pod", "connect to a pod of another namespace", _DROPPED, _REACHED),
    Attempt("another-port", "connect to a port outside that nothing of the rig needs", _DROPPED, _REACHED),
    Attempt("git-hosts-other-ports", "connect to another port of the rig's own git host", _DROPPED, _REACHED),
    Attempt(
        "from-another-pod",
        "connect to a polecat from another pod, also to the gateway's metrics",
        _DROPPED,
        "the polecat of a rig with `network.enforce: false` is reached",
    ),
)
#: Made by somebody who may only create Polecats (`test_polecats.py`).
POLECATS: Final[Sequence[Attempt]] = (
    Attempt(
        "another-repository",
        "the rig's git credential for another repository",
        "CredentialBoundToRig",
        "read and written to, where the Rig allows a Secret with the same key",
    ),
    Attempt(
        "another-secret",
        "another Secret of the namespace as the git credential",
        "SecretNotAllowed",
        "mounted, where the Rig allows the Secret",
    ),
    Attempt(
        "another-endpoint",
        "the rig's model credential for another endpoint",
        "EndpointNotAllowed",
        "accepted there, where the Rig names it as a provider",
    ),
    Attempt(
        "another-provider",
        "the rig's model credential for a provider of another name",
        "EndpointNotAllowed",
        "accepted there, where the Rig names it as a provider",
    ),
    Attempt(
        "gateway-disabled",
        "the model's credential in the agent's environment, without a gateway",
        "PolicyRefused",
        "the agent has it, where the Rig's policy allows `gateway: Disabled`",
    ),
    Attempt(
        "environment-from-secret",
        "env.valueFrom of the git Secret",
        "SecretNotAllowed",
        "in the agent's environment, where the Rig allows the Secret",
    ),
    Attempt(
        "image-pull-secret",
        "the git Secret as an image pull secret",
        "SecretNotAllowed",
        "on the pod, where the Rig allows the Secret",
    ),
    Attempt(
        "injector-annotation",
        "an annotation by which an injector adds a container with secrets",
        "PolicyRefused",
        "the git key in the agent's environment, where the Rig's policy allows podAnnotations and an injector obeys",
    ),
    Attempt(
        "pod-label",
        "a label that another NetworkPolicy selects",
        "PolicyRefused",
        "a port outside is reached, where the Rig's policy allows podLabels and such a policy opens it",
    ),
    Attempt(
        "service-account",
        "a ServiceAccount with rights",
        "PolicyRefused",
        "on the pod, where the Rig's policy allows serviceAccountName (still without a token)",
    ),
    Attempt(
        "toleration",
        "a toleration for the control plane's nodes",
        "PolicyRefused",
        "on the pod, where the Rig's policy allows tolerations",
    ),
    Attempt(
        "priority-class",
        "the priority of a node's own pods, which evict others",
        "PolicyRefused",
        "on the pod, where the Rig's policy allows priorityClassName",
    ),
    Attempt(
        "known-hosts",
        "host keys of one's own choice",
        "ConfigMapNotAllowed",
        "cloned from the server that they verify, where the Rig allows the ConfigMap",
    ),
    Attempt(
        "host-key-checking",
        "a git server that nobody verified",
        "PolicyRefused",
        "cloned from, where the Rig's policy allows it",
    ),
    Attempt(
        "own-label",
        "our own label with another value, to leave the NetworkPolicy",
        "refused, whatever the Rig's policy says",
        "a label of another name is taken by the same Rig",
    ),
    Attempt(
        "foreign-namespace",
        "a Polecat of the rig in a namespace of one's own",
        "NamespaceNotAllowed",
        "its work is pushed, where the Rig allows the namespace",
    ),
    Attempt(
        "foreign-recovery-key",
        "the recovery key of a Polecat in another namespace",
        "its own namespace is put before it: it starts anew",
        "the other's work is its own, in the same namespace once that one is deleted",
    ),
    Attempt(
        "recovery-key",
        "the recovery key of another Polecat in the same namespace",
        "RecoveryKeyInUse",
        "taken, once that one is deleted: it is what a restored Polecat finds its work by",
    ),
    Attempt(
        "foreign-dependency",
        "dependsOn a Polecat of another namespace",
        "only Polecats of its own namespace are looked for",
        "one in its own namespace is found",
    ),
    Attempt(
        "forged-owner",
        "an owner reference to a Convoy that did not make it",
        "refused by a ValidatingAdmissionPolicy",
        "taken, without the policy `gastown-objects`",
    ),
)
GROUPS: Final = (
    ("An agent that reaches for what is not its own", REACH),
    ("An agent that sets traps for the keeper's git", TRAPS),
    ("An agent that deceives the keeper with its work tree", DECEPTION),
    ("An agent that forges its end", FORGERY),
    ("An agent that looks for other destinations", NETWORK),
    ("Somebody who may only create Polecats", POLECATS),
)


def attempts(*names: str) -> Callable[[Test], Test]:
    """Say which attempts a test makes."""

    def mark(test: Test) -> Test:
        _MADE[test] = names
        return test

    return mark


def attempts_of(test: Callable[..., Any]) -> tuple[str, ...]:
    """The attempts that a test said it makes."""
    return _MADE.get(test, ())
