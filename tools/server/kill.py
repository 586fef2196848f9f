"""Kills `relens serve` while it is being asked and taught, again and again, and checks that nothing that it said was kept is lost.

    python3 tools/server/kill.py RELENS LIBRARY HOME [--times 20]

RELENS is the program, LIBRARY a library, HOME an empty directory for knowledge and judgements.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


def ask(address, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def start(arguments):
    environment = dict(os.environ, RELENS_HOME=arguments.home)
    command = [arguments.relens, "serve", "--library", arguments.library, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    for line in process.stderr:
        if "http://" in line:
            threading.Thread(target=lambda: process.stderr.read(), daemon=True).start()
            return process, line.split("http://")[1].split()[0]
    raise SystemExit("the server did not start")


def teach(address, number, kept, stop):
    """Judges hits and teaches words, and notes what was answered with success."""
    count = 0
    while not stop.is_set():
        count += 1
        word, query = f"word{number}x{count}", f"query {number} {count}"
        try:
            ask(address, "PUT", f"/api/v1/knowledge/words/{word}", {"meanings": [{"text": "dog"}]})
            kept["words"].append(word)
            ask(address, "POST", "/api/v1/judgements", {"query": query, "id": 1 + count % 30, "right": True})
            kept["judged"].append((query, 1 + count % 30))
        except (OSError, urllib.error.URLError, ValueError):
            return


def search(address, stop):
    while not stop.is_set():
        try:
            ask(address, "POST", "/api/v1/search", {"query": f"a dog number {random.random()}", "k": 5})
        except (OSError, ValueError):
            return


def lost(address, kept):
    missing = []
    for word in kept["words"]:
        try:
            ask(address, "GET", f"/api/v1/knowledge/words/{word}")
        except urllib.error.HTTPError:
            missing.append(word)
    for query, picture in kept["judged"]:
        path = "/api/v1/judgements?query=" + urllib.parse.quote(query)
        if {"id": picture, "right": True} not in ask(address, "GET", path):
            missing.append(query)
    return missing


def main(arguments):
    kept = {"words": [], "judged": []}
    for number in range(arguments.times):
        process, address = start(arguments)
        stop = threading.Event()
        threads = [threading.Thread(target=teach, args=(address, number, kept, stop))]
        threads += [threading.Thread(target=search, args=(address, stop)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.5, 2.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        stop.set()
        for thread in threads:
            thread.join()
    process, address = start(arguments)
    missing, pictures = lost(address, kept), ask(address, "GET", "/api/v1/library")["pictures"]
    process.send_signal(signal.SIGTERM)
    code = process.wait()
    print(f"killed {arguments.times} times; {len(kept['words'])} words and {len(kept['judged'])} judgements were kept, "
          f"{len(missing)} of them lost; {pictures} pictures; ended with {code}")
    return 1 if missing or code else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("relens")
    parser.add_argument("library")
    parser.add_argument("home")
    parser.add_argument("--times", type=int, default=20)
    sys.exit(main(parser.parse_args()))
