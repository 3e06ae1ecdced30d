"""The application that ``load.py`` asks: ``PORT=… GENERATION=… python3 echo.py``. Dies at once on SIGTERM.

HTTP/1.1 with kept-alive connections, and WebSockets. Each answer names the request and the body it belongs to, so a
mixed-up or shortened one is seen, and the generation that gave it. ``/headers`` answers with the request's headers as
JSON.
"""

import asyncio
import base64
import hashlib
import json
import os
import signal
import zlib

GENERATION = os.environ.get("GENERATION", "0")
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def serve(reader, writer):
    try:
        while await answer(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def answer(reader, writer):
    """One request; true if another may follow."""
    line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (part.partition(":") for part in rest if part)]
    headers = dict(pairs)
    if headers.get("upgrade", "").lower() == "websocket":
        return await echo(headers, reader, writer)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if "x-wait" in headers:
        await asyncio.sleep(float(headers["x-wait"]))
    if line.split()[1] == "/headers":
        text = json.dumps(pairs)
    else:
        text = f"id={headers.get('x-id', '-')} len={len(body)} crc={zlib.crc32(body)} gen={GENERATION}\n"
    close = headers.get("connection", "").lower() == "close" or line.endswith("/1.0")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
    writer.write((head + f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n{text}").encode())
    await writer.drain()
    return not close


async def echo(headers, reader, writer):
    accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + WEBSOCKET_GUID).digest()).decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    opcode = 1
    while opcode != 8:
        first, length = await reader.readexactly(2)
        mask, payload = await reader.readexactly(4), await reader.readexactly(length & 0x7F)
        opcode = first & 0x0F
        writer.write(bytes([first, len(payload)]) + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
    await writer.drain()
    return False


async def main():
    # Without a handler of its own Python would end its loop in order: this one is gone with the signal.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
