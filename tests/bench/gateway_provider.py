"""A provider that answers at once and goes on for a while, in the Anthropic API: `python -m tests.bench.gateway_provider`.

Prints its URL.
"""

import asyncio
import json
import sys
from typing import Any, Final

from aiohttp import web

EVENTS: Final = 40
#: Between two events of one stream: a model's usual pace.
PAUSE: Final = 0.05


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START: Final = _event("message_start", message={"usage": {"input_tokens": 1000, "output_tokens": 1}})
DELTA: Final = _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "some words more"})
END: Final = _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4}) + _event(
    "message_stop"
)


async def answer(request: web.Request) -> web.StreamResponse:
    """Begin at once."""
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(START)
    for _ in range(EVENTS):
        await asyncio.sleep(PAUSE)
        await response.write(DELTA)
    await response.write(END)
    return response


async def serve() -> None:
    """Serve until standard input ends."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/messages", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (address,) = runner.addresses
    print(f"http://127.0.0.1:{address[1]}", flush=True)  # noqa: T201 - read by whoever started it
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
