"""The names of what questions are about, as data: places, instruments, genres and moods.

They are matched as the patterns of `patterns.py` are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from antiphon.controls import GENRES, INSTRUMENTS, MOODS

# --- names of places

ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "last": -1, "final": -1,
}  # fmt: skip
SECTION_NAMES = (
    "pre chorus", "chorus", "choruses", "refrain", "verse", "verses", "bridge", "intro",
    "introduction", "outro", "ending", "coda", "hook", "drop", "breakdown", "interlude",
    "middle eight", "solo", "theme", "development",
)  # fmt: skip

# --- names of sounds, moods and styles; several names where one word means any of them


def _named(table: Mapping[str, tuple[str, ...]]) -> list[tuple[re.Pattern[str], tuple[str, ...]]]:
    """The longest wordings first, so that `bass clarinet` is no bass."""
    return [
        (re.compile(rf"\b(?:{words})\b"), names)
        for words, names in sorted(table.items(), key=lambda item: -len(item[0].split("|")[0]))
    ]


INSTRUMENT_WORDS = _named(
    {name: (name,) for name in INSTRUMENTS if name not in ("bass", "drums", "strings", "piano")}
    | {
        r"grand piano|pianos?|pianist": ("piano", "electric piano"),
        r"electric pianos?|e piano|rhodes|wurlitzer": ("electric piano",),
        r"organs?|hammond": ("organ",),
        r"key ?boards?": ("piano", "electric piano", "organ", "synth lead", "synth pad"),
        r"acoustic guitars?|nylon guitar|classical guitar": ("acoustic guitar",),
        r"electric guitars?|clean guitar": ("electric guitar",),
        r"distort(?:ed|ion) (?:electric )?guitars?|overdriven guitars?": ("distorted guitar",),
        r"guitars?|guitarist": ("acoustic guitar", "electric guitar", "distorted guitar"),
        r"bass guitars?|double bass|bass ?lines?|bassist|bass|base guitar": ("bass",),
        r"string section|strings?|orchestra\w*": ("strings",),
        r"violins?|fiddles?|violinist": ("violin",),
        r"cellos?|violoncello": ("cello",),
        r"choirs?|choral": ("choir",),
        r"brass section|brass|horn section|horns": ("brass",),
        r"trumpets?": ("trumpet",),
        r"saxophones?|sax|saxes|saxophonist": ("saxophone",),
        r"flutes?|flautist": ("flute",),
        r"clarinets?": ("clarinet",),
        r"synth leads?|lead synth": ("synth lead",),
        r"synth pads?|pads?": ("synth pad",),
        r"synthesi[sz]ers?|synths?": ("synth lead", "synth pad"),
        r"mallets?|vibraphones?|marimbas?|xylophones?|glockenspiels?|vibes player": ("mallets",),
        r"harps?": ("harp",),
        r"accordions?": ("accordion",),
        r"drum ?kits?|drum ?set|drum machine|drums?|drumming|drummer|percussion": ("drums",),
    }
)
OTHER_INSTRUMENTS = re.compile(
    r"\b(bass clarinet|french horn|banjo|ukulele|oboe|bassoon|harmonica|sitar|tuba|trombone|horn"
    r"|theremin|mandolin|harpsichord|bagpipes?|kazoo|didgeridoo|recorder|piccolo|turntables?"
    r"|timpani|tambourine|congas?|bongos?|cowbell|claps?|kick drum|snare|hi ?hats?|cymbals?"
    r"|triangle|viola|lute|pan flute|steel drums?|tabla|koto|bells?|whistle)\b"
)
GENRE_WORDS = _named(
    {name.replace("-", " "): (name,) for name in GENRES}
    | {
        r"hip ?hop|rap|trap|hiphop": ("hip-hop",),
        r"edm|techno|trance|electronica|electro|dubstep|drum and bass": ("electronic",),
        r"house music|deep house": ("house",),
        r"classic rock|hard rock|rock and roll|rock n roll|rock music": ("rock",),
        r"heavy metal|death metal": ("metal",),
        r"salsa|bossa nova|samba|latin music": ("latin",),
        r"classical music|baroque|symphonic|opera": ("classical",),
        r"jazzy|swing|bebop|jazz music": ("jazz",),
        r"pop music|poppy": ("pop",),
        r"funky": ("funk",),
        r"bluesy": ("blues",),
        r"folky|folk music|folk song": ("folk",),
        r"ska|dub": ("reggae",),
    }
)
OTHER_GENRES = re.compile(
    r"\b(country|punk|soul|r ?n ?b|disco|gospel|grunge|indie|lo ?fi|k ?pop|afrobeats?|flamenco"
    r"|bluegrass|new age|world music|vaporwave|synthwave|shoegaze|emo)\b"
)
MOOD_WORDS = _named(
    {name: (name,) for name in MOODS if name not in ("dark", "bright", "energetic")}
    | {
        r"happy|cheerful|joyful|joyous|uplifting|upbeat|happiness": ("happy",),
        r"sad|sadness|depressing|sorrowful": ("sad", "melancholic"),
        r"calm|calming|peaceful|serene|tranquil|soothing": ("calm", "relaxed"),
        r"gloomy|sinister|ominous": ("dark",),
        r"tension|nervous|anxious|suspenseful": ("tense",),
        r"relax(?:ed|ing)?|chill|chilled|laid back": ("relaxed", "calm"),
        r"melanchol\w+|wistful": ("melancholic",),
        r"romantic|tender|love song": ("romantic",),
        r"playful|fun|humorous|quirky": ("playful",),
        r"solemn|serious|dignified": ("solemn",),
    }
)
OTHER_MOODS = re.compile(
    r"\b(angry|scary|epic|nostalgic|hopeful|dreamy|mysterious|funny|heroic|spiritual|sexy|lonely"
    r"|triumphant)\b"
)

ALL_NAMES = (
    *(words for words, _ in (*INSTRUMENT_WORDS, *GENRE_WORDS, *MOOD_WORDS)),
    OTHER_INSTRUMENTS, OTHER_GENRES, OTHER_MOODS,
    re.compile("|".join((*SECTION_NAMES, *ORDINALS, "half"))),
)  # fmt: skip
