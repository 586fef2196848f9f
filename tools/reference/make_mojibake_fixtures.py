"""Damaged texts, and what open_clip makes of them: ftfy's repairs, HTML entities, white space.

Writes crates/relens-models/tests/fixtures/repaired_texts.json, a list of [text, repaired]. With --count and --output,
more of them, with another seed.

    python3 tools/reference/make_mojibake_fixtures.py [--count 100000 --seed 9 --output FILE]
"""

import argparse
import json
import random
from pathlib import Path

from ftfy.badness import MOJIBAKE_CATEGORIES
from ftfy.chardata import CHARMAP_ENCODINGS
from open_clip.tokenizer import get_clean_fn

FIXTURE = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures/repaired_texts.json"

# What is known to occur: texts decoded once or more with a wrong encoding, half of them altered further.
KNOWN = [
    "âœ” No problems", "schÃ¶n", "sÃ³", "voilÃ le travail", "Ã la mode", "&ATILDE;&SUP3;", "P&EACUTE;REZ", "CAFÉ½",
    "ŽŻ", "L&AMP;AMP;ATILDE;&AMP;AMP;SUP3;PEZ", "â€œ like this â€\ufffd", "IâÃ‚Â€Â™m mojibake", "Itâ€™s 5Â°C Ã  Paris",
    "Ã‚Â£10", "rÃ©sumÃ©s Ã©tÃ©", "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "РџСЂРёРІРµС‚", "Î•Î»Î»Î·Î½Î¹ÎºÎ¬", "ä½ å¥½", "ã\x81“ã‚“ã«ã\x81¡ã\x81¯",
    "ðŸ˜€ ðŸ\x90• dog", "ðŸ‘©â€\x8dðŸ‘§", "í\xa0½í¸\x80", "À\x80null", "À\n", "café Ã©tÃ©", "Ørsted’s Ø§Ù„Ø¹Ø±Ø¨ÙŠØ©",
    "naïve café, São Paulo; Ångström!", "Noël à l’œuvre", "(ó ò)ﾉ ♥ (ง'̀-'́)ง ┌(°ω°)┘", "ÃƒÆ’Ã‚Â©", "‚Äúquoted‚Äù", "√© √†",
    "├⌐t├⌐", "вЂњРњРѕСЃРєРІР°вЂќ", "ГўВЂВ™s", "Å“uvre", "bell\x07\x1b[31mred\x1b[0m", "<b>&amp;eacute;</b> Ã©",
    "Ã©\n<i>&eacute;</i>\n&eacute; Ã©", "&#233;&#xe9;&#59;&semi;&notit;&LTIMES;&NTILDE;&nTILDE;&szlig;&SZLIG;&#0;&#x80;&#1;",
    "one\r\ntwo\rthree\u2028four\x85five", "“curly” ‘quotes’ ﬁne ＬＯＵＤ　ﾊﾝｶｸ", "e\u0301 n\u0303", "\ufeffbom \u200bzero", "Ã ",
    "a Â b", "done.Â  Next", "à²¸ à¤¹à¤¿", "×²", "ВГ°Г", "β€™", "ā€ž", "100â‚¬", "5ÂµmÂ²", "ﾃ｡ﾃ", "voil\u00c3 la ville",
]  # fmt: skip
SENTENCES = [
    "Zwei Hunde spielen fröhlich im Schnee – süß!", "L’été, des élèves mangent une crêpe à la plage…", "El niño comió piñas ¡qué rico! ¿no?",
    "Ένας σκύλος τρέχει στην παραλία", "Собака бежит по снегу, «мяч» в зубах", "Pes běží po sněhu, šťastný žluťoučký kůň",
    "Zażółć gęślą jaźń", "Köpek kumsalda koşuyor, ığdır İstanbul", "Šuo bėga per sniegą; žąsys", "一只狗在雪地里奔跑。", "犬が走っている", "개가 눈밭을 달린다",
    "कुत्ता दौड़ रहा है", "الكلب يجري على الشاطئ", "הכלב רץ על החוף", "“Don’t stop” — 5 °C, 20 € ½ ©2020 ™", "🐕 runs 😀 at 25 °C", "Århus på fjæren, smørrebrød",
    "São João às dez, àquela hora", "½ ¼ ¾ × ÷ ± µm m² № 5 ∑ ≈ ≠",
]  # fmt: skip


def expanded(classes: str) -> str:
    """The characters of a regular expression's class."""
    characters, position = [], 0
    while position < len(classes):
        if classes[position + 1 : position + 2] == "-":
            characters += [chr(code) for code in range(ord(classes[position]), ord(classes[position + 2]) + 1)]
            position += 3
        else:
            characters.append(classes[position])
            position += 1
    return "".join(characters)


CATEGORIES = [expanded(classes) for classes in MOJIBAKE_CATEGORIES.values()]


def decoded_wrongly(text: str, generator: random.Random) -> str:
    """A text whose UTF-8 was decoded with a single-byte encoding."""
    encoding = generator.choice(CHARMAP_ENCODINGS)
    data = text.encode("utf-8")
    if generator.random() < 0.2:
        # CESU-8: each half of a UTF-16 pair by itself.
        halves = text.encode("utf-16-le")
        units = [int.from_bytes(halves[i : i + 2], "little") for i in range(0, len(halves), 2)]
        data = "".join(map(chr, units)).encode("utf-8", "surrogatepass")
    strict = encoding.removeprefix("sloppy-")
    if generator.random() < 0.3:
        return data.decode(strict, "replace")
    return data.decode(encoding)


def altered(text: str, generator: random.Random) -> str:
    kind = generator.random()
    if kind < 0.15:
        return text.replace("\u00a0", " ")
    if kind < 0.2:
        return text.replace("\ufffd", "?")
    if kind < 0.3:
        return generator.choice(SENTENCES) + " " + text
    if kind < 0.35:
        return text.upper() if generator.random() < 0.5 else text.lower()
    if kind < 0.4:
        position = generator.randrange(len(text) + 1)
        return text[:position] + generator.choice(["\n", "&eacute;", "<b>", "\x1a", "\x9d", "\x81"]) + text[position:]
    return text


def mixture(generator: random.Random) -> str:
    """Characters of the classes that mojibake is recognised by, among plain letters."""
    characters = []
    for _ in range(generator.randint(1, 12)):
        characters.append(generator.choice(generator.choice(CATEGORIES) if generator.random() < 0.7 else "abcXYZ  .,1_é\n"))
    return "".join(characters)


def from_page(generator: random.Random) -> str:
    """Letters of one encoding's upper half, some after ASCII."""
    encoding = generator.choice(CHARMAP_ENCODINGS)
    data = [generator.choice([generator.randint(0x80, 0xFF), generator.randint(0xC2, 0xF4), generator.randint(0x80, 0xBF), 0x20, 0x61]) for _ in range(generator.randint(1, 9))]
    return bytes(data).decode(encoding, "replace")


def damaged_texts(count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    texts = list(KNOWN)
    while len(texts) < count:
        kind = generator.random()
        if kind < 0.45:
            words = generator.choice(SENTENCES).split()
            start = generator.randrange(len(words))
            text = decoded_wrongly(" ".join(words[start : start + generator.randint(1, 5)]), generator)
            if generator.random() < 0.15:
                text = decoded_wrongly(text, generator)
            texts.append(altered(text, generator))
        elif kind < 0.75:
            texts.append(mixture(generator))
        else:
            texts.append(from_page(generator))
    return texts[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--output", type=Path, default=FIXTURE)
    arguments = parser.parse_args()
    clean = get_clean_fn("whitespace")
    pairs = [[text, clean(text)] for text in damaged_texts(arguments.count, arguments.seed)]
    changed = sum(text != repaired for text, repaired in pairs)
    lines = ",\n".join(json.dumps(pair, ensure_ascii=True) for pair in pairs)
    arguments.output.write_text(f"[\n{lines}\n]\n")
    print(f"{len(pairs)} texts, {changed} of them changed, in {arguments.output}")


if __name__ == "__main__":
    main()
