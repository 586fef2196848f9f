#!/usr/bin/env python3
"""A chat endpoint on loopback whose "language model" is a program that does as relens's mining prompts tell it.

    python3 tools/llm/heeding_writer.py --captions dataset_flickr8k.json --skip 3000 [--port 8719]

It separates what a way of mining can do from how well a language model follows it. It sees a request and nothing else:
no retriever, no pictures. What it writes is the text that it continues from, with phrases put in, put in place of
others, or left out; the strategies differ in nothing but what their prompts tell:

* the text to go on from: the query, or the best of the earlier rewrites by the told ranks or similarities;
* where phrases come from: the captions of the right picture, if there are any in the prompt, and of these those whose
  words the captions of the wrong pictures do not have, if there are any; else what it has read that goes with the
  query's words (`--captions`: the training captions after the first `--skip` pictures, so that it has read nothing of
  the pictures that are mined).

The same request with the same seed has the same answer.
"""

import argparse
import collections
import json
import random
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FUNCTION_WORDS = set(
    "a an the this that these those some another other others one someone something it its he she they them his her "
    "their him who which what there here is are was were be been being am has have had having do does doing of in on "
    "at by to from for with without into onto out off up down over under near next beside behind through across along "
    "around while as and or but not no so very just about against between toward towards ,".split()
)
MOST_WORDS = 30
LEAST_READ = 20


def words(text):
    return re.findall(r"[a-z0-9'-]+", text.lower())


def stem(word):
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def runs(tokens):
    """(start, end) of the longest stretches without a function word."""
    start, found = None, []
    for position, word in enumerate([*tokens, "the"]):
        if word in FUNCTION_WORDS:
            if start is not None:
                found.append((start, position))
            start = None
        elif start is None:
            start = position
    return found


def phrases(text):
    tokens = words(text)
    return [tuple(tokens[max(start, end - 3):end]) for start, end in runs(tokens)]


class Reading:
    """Which phrases go with a word, from captions."""

    def __init__(self, captions):
        texts = [set(phrases(caption)) for caption in captions]
        total = collections.Counter(phrase for text in texts for phrase in text)
        self.beside = collections.defaultdict(collections.Counter)
        for text in texts:
            common = [phrase for phrase in text if total[phrase] >= LEAST_READ]
            for word in {word for phrase in text for word in phrase}:
                self.beside[word].update(common)

    def weights(self, query):
        own = {stem(word) for word in words(query)}
        weights = collections.Counter()
        for word in set(words(query)) - FUNCTION_WORDS:
            total = sum(self.beside[word].values()) or 1
            for phrase, count in self.beside[word].items():
                if not own.issuperset(stem(word) for word in phrase):
                    weights[phrase] += count / total
        return weights


class Request:
    """What a prompt tells."""

    def __init__(self, prompt):
        self.query = re.search(r'query "(.*?)" (?:so that|should find)', prompt, re.DOTALL).group(1)
        self.count = int(re.search(r'"rewrites" \(a list of (\d+)', prompt).group(1))
        self.reviewed = '"failed_concepts"' in prompt
        rank = re.search(r"ranks it (\d+)", prompt)
        score = re.search(r"similarity is ([-0-9.]+[0-9])", prompt)
        told = float(score.group(1)) if score else -int(rank.group(1)) if rank else 0
        self.history, self.right, self.wrong, section = [(told, self.query)], [], [], None
        for line in prompt.splitlines():
            if line.startswith(("The right picture shows:", "Wrong pictures that score higher show:", "Turn ")):
                section = line.split()[1]
            elif section == "right" and line.startswith("- "):
                self.right.append(line[2:])
            elif section == "pictures" and (found := re.match(r"\d+\. (.*)", line)):
                self.wrong += found.group(1).split(" / ")
            elif found := re.match(r'- "(.*)": (rank )?([-0-9.]+)$', line):
                worth = float(found.group(3))
                self.history.append((-worth if found.group(2) else worth, found.group(1)))

    def parent(self):
        """The best so far, the latest of them if there are several."""
        best = max(worth for worth, _ in self.history)
        return [text for worth, text in self.history if worth == best][-1]


class Writer:
    def __init__(self, captions):
        self.reading = Reading(captions)

    def reply(self, prompt, seed):
        request = Request(prompt)
        chance = random.Random(f"{seed} {prompt}")
        wrong = {stem(word) for caption in request.wrong for word in words(caption)}
        failed = [word for word in words(request.query) if word not in FUNCTION_WORDS and stem(word) in wrong]
        weights = self.material(request, wrong)
        known = {tuple(words(text)) for _, text in request.history}
        rewrites = []
        for _ in range(20 * request.count):
            if len(rewrites) == request.count:
                break
            tokens = words(request.parent())
            for _ in range(chance.choice((1, 2))):
                tokens = edited(tokens, weights, failed, chance)
            if tokens and len(tokens) <= MOST_WORDS and tuple(words(" ".join(tokens))) not in known:
                known.add(tuple(words(" ".join(tokens))))
                rewrites.append(" ".join(tokens).replace(" ,", ","))
        answer = {"rewrites": rewrites or [request.query]}
        if request.reviewed:
            answer = {"analysis": "", "failed_concepts": failed[:8], **answer}
        return answer

    def material(self, request, wrong):
        own = {stem(word) for word in words(request.query)}
        if not request.right:
            return self.reading.weights(request.query)
        new = [phrase for caption in request.right for phrase in phrases(caption)]
        new = [phrase for phrase in new if not own.issuperset(stem(word) for word in phrase)]
        telling = [phrase for phrase in new if not wrong.issuperset(stem(word) for word in phrase)]
        return collections.Counter(telling or new)


def edited(tokens, weights, failed, chance):
    """A phrase in place of the stretch that ends in the same word, of another one, or at the end; or a stretch out."""
    stretches = runs(tokens)
    blamed = [(start, end) for start, end in stretches if all(word in failed for word in tokens[start:end])]
    drawn = chance.random()
    if stretches and drawn < 0.15 and len(stretches) > 1:
        start, end = chance.choice(blamed or stretches)
        before = max((other for _, other in stretches if other <= start), default=0)
        return tokens[:before] + tokens[end:]
    if not weights:
        return tokens
    phrase = list(chance.choices(list(weights), list(weights.values()))[0])
    same = [(start, end) for start, end in stretches if tokens[end - 1] == phrase[-1]]
    if same or stretches and drawn < 0.4:
        start, end = chance.choice(same or blamed or stretches)
        return tokens[:start] + phrase + tokens[end:]
    return [*tokens, ",", *phrase]


def handler(writer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = asked["messages"][-1]["content"]
            prompt = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
            text = json.dumps(writer.reply(prompt, asked.get("seed", 0)))
            usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
            message = {"role": "assistant", "content": text}
            body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--captions", required=True, help="what it has read: captions in Karpathy's format")
    arguments.add_argument("--skip", type=int, default=3000, help="training pictures that it has not read of")
    arguments.add_argument("--port", type=int, default=8719)
    given = arguments.parse_args()
    with open(given.captions, encoding="utf-8") as file:
        pictures = [image for image in json.load(file)["images"] if image["split"] == "train"]
    captions = [sentence["raw"] for image in pictures[given.skip:] for sentence in image["sentences"]]
    server = ThreadingHTTPServer(("127.0.0.1", given.port), handler(Writer(captions)))
    server.serve_forever()


if __name__ == "__main__":
    main()
