"""What the operator's command line decides for all controllers."""

from typing import Final

from attrs import frozen

#: A user that no image of a distribution uses; the workload image has a passwd entry for it, which ssh needs.
WORKLOAD_USER: Final = 10001

#: MiB; a history of that size comes in some seconds from a server near by.
DEFAULT_FULL_CLONE_LIMIT: Final = 256


@frozen(kw_only=True)
class Egress:
    """How what we run in pods reaches the outside, beyond what the network itself does.

    Attributes:
        https_proxy: URL of the proxy for https; empty for none. It must not contain a password: arguments are no secret.
        http_proxy: the same for http.
        no_proxy: hosts, domains and networks that are reached directly, with commas between them.
        proxy_secret: name of a Secret in the work namespace with the keys `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, for proxies
            that want a password; takes the place of the three above.
        ca_config_map: name of a ConfigMap in the work namespace whose `ca.crt` is trusted besides the system's authorities.
    """

    https_proxy: str = ""
    http_proxy: str = ""
    no_proxy: str = ""
    proxy_secret: str = ""
    ca_config_map: str = ""


@frozen(kw_only=True)
class OperatorSettings:
    """Settings of one operator process.

    Attributes:
        workload_image: image with clone and keeper.
        agent_image: image with the agents that the operator ships.
        native_sidecars: whether sidecars are init containers with `restartPolicy: Always` (Kubernetes 1.29 and later),
            or ordinary containers.
        run_as_user: user and group id of every container; None leaves them to the platform (OpenShift).
        start_timeout: seconds after which a pod whose containers cannot start is deleted, which frees its slot.
        model_prices: prices of models that are added to the known ones, as JSON (`agents.prices.parse_overrides`).
        full_clone_limit: MiB of history above which a clone is shallow; 0 for never.
        egress: proxies and authorities for git and the model's API.
    """

    workload_image: str
    agent_image: str
    native_sidecars: bool = True
    run_as_user: int | None = WORKLOAD_USER
    start_timeout: float = 300.0
    model_prices: str = ""
    full_clone_limit: int = DEFAULT_FULL_CLONE_LIMIT
    egress: Egress = Egress()
