"""Writes the gallery's titles as captions, in JSON Lines: a small set of pictures that no training data has.

    python3 tools/data/gallery_captions.py gallery/attribution.json gallery/captions.jsonl

What stands in parentheses is left out: names that the pictures do not show.
"""

import json
import re
import sys
from pathlib import Path

pictures = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
with Path(sys.argv[2]).open("w", encoding="utf-8") as target:
    for picture in pictures:
        title = re.sub(r"\s*\(.*?\)", "", picture["title"]).strip()
        target.write(json.dumps({"image": picture["file"], "captions": [title], "split": "gallery"}, ensure_ascii=False) + "\n")
