"""Running the proxy: until it is told to stop, with its counts for Prometheus on a port of their own."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from detector.errors import ServerError
from detector.perturb.proxy import Proxy
from detector.perturb.telling import Policy
from detector.perturb.upstream import Upstream

__all__ = ["serve"]


async def serve(
    upstream: Upstream,
    policy: Policy,
    address: tuple[str, int],
    *,
    most: int = 256,
    metrics_port: int = -1,
    tell: Callable[[str], None],
    stop: asyncio.Event | None = None,
) -> None:
    """Listen on `address` until SIGINT, SIGTERM or `stop`; `tell` gets the sentence that says where.

    `most` requests are served at a time.

    Raises `ServerError` where an address cannot be used.
    """
    ended = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    proxy = Proxy(upstream, policy, most)
    metrics: asyncio.Server | None = None
    host, port = address
    try:
        port = await proxy.start(host, port)
        if metrics_port >= 0:
            metrics = await asyncio.start_server(_metrics(policy), host, metrics_port)
            tell(f"metrics on {host}:{metrics.sockets[0].getsockname()[1]}")
        tell(f"perturbing ({policy.how.mode}) what {upstream.host}:{upstream.port} answers, on {host}:{port}")
        await ended.wait()
    except (OSError, OverflowError) as error:
        raise ServerError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        await proxy.close()
        if policy.marks is not None:
            policy.marks.close()
        if metrics is not None:
            metrics.close()


def _metrics(policy: Policy) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5.0)
            body = policy.text()
            head = (
                b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            )
            writer.write(head % len(body) + body)
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return answer
