"""Writes the English words that are spelled right, one a line, sorted by code points.

    pip install symspellpy
    python3 tools/data/make_word_list.py models/evd/words.txt

The words are those of SymSpell's English frequency dictionary (MIT licence), which is the intersection of Google Books'
n-grams (CC BY 3.0) and SCOWL's spell-checker lists; the frequencies are left out.
"""

import sys
from importlib.resources import files
from pathlib import Path

dictionary = (files("symspellpy") / "frequency_dictionary_en_82_765.txt").read_text(encoding="utf-8-sig")
words = {line.split()[0].lower() for line in dictionary.splitlines() if line.strip()}
kept = sorted(word for word in words if len(word) >= 3 and word.isalpha())
Path(sys.argv[1]).write_text("\n".join(kept) + "\n", encoding="utf-8")
