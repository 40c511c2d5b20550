"""The readers to compare ours with: each counts the events of the scripted server in the usual way of its library.

python -m tests.bench.baselines_watch bare|models|dicts|kopf PODS URL
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, Final

import aiohttp
import orjson

from tests.bench.stream_server_reader import Meter

READ_BUFFER: Final = 256 * 1024
_WATCH: Final = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": "1000000000"}


async def bare(url: str, _: int) -> None:
    """An aiohttp client that reads lines and decodes them."""
    meter = Meter()
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(read_bufsize=READ_BUFFER, timeout=timeout) as session,
        session.get(f"{url}/api/v1/pods", params=_WATCH) as response,
    ):
        meter.ready()
        async for line in response.content:
            if orjson.loads(line)["type"] == "MODIFIED":
                meter.events += 1


async def models(url: str, _: int) -> None:
    """`kubernetes_asyncio.watch.Watch` over typed pods, as its README does."""
    from kubernetes_asyncio import client  # noqa: PLC0415 - 38 MiB that the other readers do without

    _configure(url)
    async with client.ApiClient() as api:
        await _watch(client.CoreV1Api(api).list_pod_for_all_namespaces)


async def dicts(url: str, _: int) -> None:
    """The same over custom objects, which are dictionaries."""
    from kubernetes_asyncio import client  # noqa: PLC0415 - as above

    _configure(url)
    async with client.ApiClient() as api:
        lister = client.CustomObjectsApi(api).list_cluster_custom_object
        await _watch(lister, "bench.example", "v1", "pods")


def _configure(url: str) -> None:
    from kubernetes_asyncio import client  # noqa: PLC0415 - as above

    client.Configuration.set_default(client.Configuration(host=url))


async def _watch(lister: Callable[..., Any], *arguments: str) -> None:
    from kubernetes_asyncio import watch  # noqa: PLC0415 - as above

    meter = Meter()
    async with watch.Watch() as watching:
        meter.ready_after(1.0)  # it does not say when the watch is open
        async for _ in watching.stream(lister, *arguments, resource_version=_WATCH["resourceVersion"]):
            meter.events += 1


async def kopf_handlers(url: str, pods: int) -> None:
    """An operator of kopf with one handler of pods' events, once it has handled those that it begins with."""
    import kopf  # noqa: PLC0415 - as above

    logging.getLogger("kopf").setLevel(logging.WARNING)
    meter, initial = Meter(), count(1)
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=url)

    @kopf.on.event("", "v1", "pods", registry=registry)
    def handle(type: str | None, **_: Any) -> None:  # noqa: A002 - kopf's name
        meter.events += type == "MODIFIED"
        if type is None and next(initial) == pods:
            meter.ready_after(1.0)

    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    await kopf.operator(registry=registry, settings=settings, standalone=True, clusterwide=True)


READERS: Final[Mapping[str, Callable[[str, int], Awaitable[None]]]] = {
    "bare": bare,
    "models": models,
    "dicts": dicts,
    "kopf": kopf_handlers,
}


def main() -> None:
    """Run the reader of that name."""
    name, pods, url = sys.argv[1:]

    async def run() -> None:
        await READERS[name](url, int(pods))

    asyncio.run(run())


if __name__ == "__main__":
    main()
