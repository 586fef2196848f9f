"""Seeded strings that tokenizers trip over: scripts, emoji, marks, spaces, entities, contractions, control codes."""

import random

WORDS = (
    "a the dog dogs dog's don't we'll I've running photograph children's 42 3.14 1,000 COVID-19 state-of-the-art U.S.A. "
    "x86_64 C++ #hashtag @user http://example.com/a?b=c naïve café Zürich El Niño smörgåsbord français Straße coöperate"
).split()
SCRIPTS = {
    "greek": (0x3B1, 0x3C9), "cyrillic": (0x430, 0x44F), "hebrew": (0x5D0, 0x5EA), "arabic": (0x627, 0x64A),
    "devanagari": (0x905, 0x939), "thai": (0xE01, 0xE2E), "hangul": (0xAC00, 0xD7A3), "hiragana": (0x3041, 0x3096),
    "katakana": (0x30A1, 0x30FA), "chinese": (0x4E00, 0x9FA5), "rare chinese": (0x20000, 0x2A6D6),
    "latin extended": (0x100, 0x17F), "capitals": (0x391, 0x3A1), "mathematical": (0x1D400, 0x1D433),
}  # fmt: skip
EMOJI = ["🐕", "😀", "👩‍👩‍👧‍👦", "👍🏽", "🇨🇭", "❤️", "☃", "🏳️‍🌈", "1️⃣", "🥑🥑🥑"]
MARKS = ["!", "?!", "...", "…", "—", "–", "“quoted”", "‘single’", "«»", "（括号）", "，", "。", "&amp;", "&lt;b&gt;", "&#39;", "%", "$5", "€", "½", "²", "ﬁ", "№", "™", "°C", "|", "\\", "``", "__", "*"]
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u2009", "\r\n"]
COMBINED = ["e\u0301", "n\u0303o", "a\u030a", "क्षि", "가\u0301", "İstanbul", "ﬃ", "ẞ", "ＡＢＣ", "ｶﾞ"]


def word(generator: random.Random) -> str:
    kind = generator.random()
    if kind < 0.45:
        chosen = generator.choice(WORDS)
        return generator.choice([chosen, chosen, chosen.upper(), chosen.capitalize()])
    if kind < 0.65:
        low, high = generator.choice(list(SCRIPTS.values()))
        return "".join(chr(generator.randint(low, high)) for _ in range(generator.randint(1, 6)))
    if kind < 0.75:
        return generator.choice(EMOJI)
    if kind < 0.92:
        return generator.choice(MARKS)
    return generator.choice(COMBINED)


def odd_strings(count: int, seed: int = 7) -> list[str]:
    generator = random.Random(seed)
    texts = ["", " ", "\n", "'", "a" * 300, "! " * 200, "狗" * 100, "🐕" * 60]
    while len(texts) < count:
        parts = [word(generator) for _ in range(generator.randint(1, 14))]
        separator = generator.choice(SPACES) if generator.random() < 0.8 else ""
        texts.append(separator.join(parts))
    return texts[:count]
