"""Puts a running `relens serve` under load, and says how it bore it. Nothing but Python's own library is needed.

    python3 tools/server/load.py http://127.0.0.1:7788 --clients 64 --seconds 60 [--pid PID] [--route search|embeddings]

Every query is another one, so that nothing is remembered. Printed: answers by status, the time of an answer (p50, p99),
answers a second, and the memory of the server after the first minute and at the end, if its process is named.
"""

import argparse
import asyncio
import collections
import json
import random
import time
import urllib.parse

THINGS = "dog cat boy girl man woman bird horse car boat child pooch lad lassie toddler kayak frisbee terrier".split()
DOING = "running jumping sitting sleeping playing swimming climbing looking standing snarling riding eating".split()
PLACES = "beach street park snow river forest kitchen bridge mountain stage field garden quay plaza meadow".split()
COLOURS = "red blue azure green white black crimson brown yellow grey".split()


def query(number):
    chosen = random.Random(number)
    pick = chosen.choice
    return f"a {pick(COLOURS)} {pick(THINGS)} {pick(DOING)} at the {pick(PLACES)} number {number}"


def body(route, number):
    if route == "search":
        return "/api/v1/search", {"query": query(number), "k": 20}
    return "/v1/embeddings", {"model": "relens-mini", "input": query(number), "encoding_format": "base64"}


async def ask(reader, writer, host, path, content):
    sent = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    writer.write(head.encode() + sent)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(head[9:12])


async def client(address, route, numbers, until, statuses, times):
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    while time.monotonic() < until:
        begun = time.monotonic()
        status = await ask(reader, writer, address.netloc, *body(route, next(numbers)))
        statuses[status] += 1
        if status == 200:
            times.append(time.monotonic() - begun)
        else:
            await asyncio.sleep(0.2)
    writer.close()


def memory(pid):
    """The resident memory of a process, in MB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


async def watch(pid, until, seen):
    while pid and time.monotonic() < until:
        seen.append((time.monotonic(), memory(pid)))
        await asyncio.sleep(1)


def counting(first):
    while True:
        yield first
        first += 1


async def main(arguments):
    address = urllib.parse.urlparse(arguments.server)
    begun = time.monotonic()
    until, statuses, times, seen = begun + arguments.seconds, collections.Counter(), [], []
    numbers = counting(random.randrange(10**9))
    clients = [client(address, arguments.route, numbers, until, statuses, times) for _ in range(arguments.clients)]
    await asyncio.gather(watch(arguments.pid, until, seen), *clients)
    times.sort()
    at = lambda share: 1000 * times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")
    took = time.monotonic() - begun
    print(f"{arguments.clients} clients, {took:.0f} s, {arguments.route}: {dict(statuses)}")
    print(f"p50 {at(0.5):.1f} ms, p99 {at(0.99):.1f} ms, longest {at(1):.1f} ms, {len(times) / took:.1f} a second")
    if seen:
        early = [size for when, size in seen if when - begun >= min(60, arguments.seconds / 4)][:1] or [seen[0][1]]
        print(f"memory: {early[0]:.0f} MB after the beginning, {seen[-1][1]:.0f} MB at the end")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--route", choices=["search", "embeddings"], default="search")
    asyncio.run(main(parser.parse_args()))
