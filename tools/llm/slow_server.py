#!/usr/bin/env python3
"""A chat endpoint on loopback that answers every request after a fixed time, for measuring the client alone.

    python3 tools/llm/slow_server.py [PORT] [MILLISECONDS]
"""

import asyncio
import json
import sys

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8718
SECONDS = float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.2

CONTENT = json.dumps({"analysis": "x", "failed_concepts": [], "rewrites": ["a brown dog runs on green grass"]})
BODY = json.dumps({
    "choices": [{"message": {"role": "assistant", "content": CONTENT}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 200, "completion_tokens": 30},
}).encode()
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length"))
            await reader.readexactly(length)
            await asyncio.sleep(SECONDS)
            writer.write(REPLY)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
