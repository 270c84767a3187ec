"""The words for what a trained listener hears, as data: names, hedges, and sentences with slots.

As in `wording.py`, a sentence may be used only if all its slots are filled, and a later tier says
less. A hedge stands before what it holds for, and holds for what is listed right after it: in
"probably jazz, with piano" the piano is stated plainly. A tone is always called one ("dark in
tone"), so that it is not taken for a mood. Nothing here speaks of voices or of an instrument that
is missing, drums apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from antiphon.listen.wording import Tiers

HEDGES = ("probably", "apparently", "most likely")

# Before a noun, and standing alone.
GENRE_ADJECTIVES: Mapping[str, str] = {"latin": "Latin"}
GENRE_NAMES: Mapping[str, str] = {
    "classical": "classical music",
    "electronic": "electronic music",
    "house": "house music",
    "latin": "Latin music",
    "folk": "folk music",
    "ambient": "ambient music",
}
TRACKS = ("track", "recording")
GENRE_NOUNS: Mapping[str, tuple[str, ...]] = {
    "classical": ("piece", "recording"),
    "jazz": ("piece", "recording", "track"),
    "folk": ("piece", "recording"),
    "ambient": ("piece", "recording", "track"),
    "latin": ("piece", "track"),
}

MOOD_WORDS: Mapping[str, tuple[str, ...]] = {
    "happy": ("happy", "cheerful", "upbeat"),
    "sad": ("sad", "sorrowful", "mournful"),
    "calm": ("calm", "peaceful", "tranquil"),
    "energetic": ("energetic", "lively", "spirited"),
    "dark": ("dark", "sombre"),
    "bright": ("bright", "sunny"),
    "tense": ("tense", "restless"),
    "relaxed": ("relaxed", "laid-back", "easy-going"),
    "romantic": ("romantic", "tender"),
    "melancholic": ("melancholic", "wistful"),
    "playful": ("playful", "light-hearted"),
    "solemn": ("solemn", "grave"),
}
# Beside one of these, the same level of energy need not be named.
MOODS_OF_ENERGY: Mapping[str, frozenset[str]] = {
    "high": frozenset({"energetic", "tense"}),
    "medium": frozenset(MOOD_WORDS),
    "low": frozenset({"calm", "relaxed", "sad", "melancholic", "solemn"}),
}
ENERGY_ADJECTIVES: Mapping[str, tuple[str, ...]] = {
    "high": ("high-energy", "energetic"),
    "medium": ("moderately energetic", "medium-energy"),
    "low": ("low-energy",),
}
ENERGY_NOTES: Mapping[str, str] = {
    "high": "high energy",
    "medium": "medium energy",
    "low": "low energy",
}

INSTRUMENT_NAMES: Mapping[str, tuple[str, ...]] = {"mallets": ("mallets", "mallet instruments")}
PLURAL_INSTRUMENTS = frozenset({"strings", "mallets", "drums"})
NO_ARTICLE = PLURAL_INSTRUMENTS | {"brass", "bass"}

# --- the lead: genre, mood or energy, main instruments, tempo and key

WITH = ("with", "featuring")
LEAD: Tiers = (
    (
        "{a_heard} {with_band}, {place}",
        "{a_heard} {place}, {with_band}",
        "{style} {place}, {with_band}",
        "{style} {with_band}, {place}",
        "this is {a_heard} {place}, {with_band}",
        "{place}, this is {a_heard} {with_band}",
        "{sure_band} in {a_kind} {place}",
        "{place}, {sure_band} can be heard in {a_kind}",
        "{tempo_note}, {key}: {a_heard} {with_band}",
    ),
    (
        "{a_heard} {with_few}, {place}",
        "{a_heard} {place}, {with_few}",
        "{style} {with_few}, {place}",
    ),
    (
        "{a_heard} {with_band}",
        "{style} {with_band}",
        "this is {a_heard} {with_band}",
        "{sure_band} in {a_kind}",
    ),
    ("{a_heard} {with_few}", "{style} {with_few}"),
    ("{a_heard} {place}", "{style} {place}", "this is {a_heard} {place}", "{place}, {a_heard}"),
    ("{a_heard}, {tempo_note}", "{a_heard}, {key}"),
    ("this is {a_heard}", "{a_heard}", "{style}"),
)

# --- full: what the lead left out

ALSO_PLAYING: Tiers = (
    (
        "{also} can be heard as well",
        "there {also_is} also {also}",
        "besides these, {also} can be heard",
        "also heard {also_is} {also}",
    ),
)
PERHAPS_PLAYING: Tiers = (
    (
        "{hedge} {perhaps} can be heard as well",
        "{hedge} there {perhaps_is} also {perhaps}",
        "{hedge} {perhaps} {perhaps_play} too",
    ),
)
ALSO_CALLED: Mapping[bool, tuple[str, ...]] = {
    True: ("it could also be called {other_genre}", "one could also call it {other_genre}"),
    False: ("it could {hedge} also be called {other_genre}",),
}
MOOD: Tiers = (
    (
        "the mood is {mood_rest}",
        "its mood is {mood_rest}",
        "in mood it is {mood_rest}",
        "it comes across as {mood_rest}",
        "the feeling is {mood_rest}",
    ),
)
ENERGY: Tiers = (("its energy is {energy_level}", "the energy is {energy_level}"),)
NO_DRUMS = ("there are no drums", "it goes without drums", "no drums are heard")
NO_DRUMS_HEDGED = ("{hedge} there are no drums", "it is {hedge} without drums")
DANCE: Mapping[tuple[str, bool], tuple[str, ...]] = {
    ("danceable", True): ("it is danceable", "one can dance to it", "it invites dancing"),
    ("danceable", False): ("it is {hedge} danceable", "one can {hedge} dance to it"),
    ("still", True): ("it is not made for dancing", "it is not meant for dancing"),
    ("still", False): ("it is {hedge} not made for dancing",),
}
LENGTH: Tiers = (
    (
        "it lasts {length}, with {metre}",
        "{length} long, it has {metre}",
        "its length is {length}, and it has {metre}",
        "over its {length} it keeps {metre}",
    ),
    ("it lasts {length}", "its length is {length}", "it runs for {length}"),
)
MAY_NOT_BE_MUSIC = (
    "it may not be music",
    "this may not be music",
    "it is not certain that this is music",
)

# --- sections, and what is new in each

FORM_BY_CHANGES: Tiers = (
    ("the form is {form}", "its sections follow the plan {form}", "in outline it is {form}"),
    ("it has {section_count}",),
)
OPENINGS = ("it opens with {names}", "it begins with {names}", "it starts with {names}")
SECTION_WITH_PART = (
    "in {part}, from {time}, {clauses}",
    "with {part} at {time}, {clauses}",
    "{part} begins at {time}: {clauses}",
    "from {time} ({part}) {clauses}",
)
SECTION = ("from {time} {clauses}", "at {time} {clauses}", "{time} is where {clauses}")
# Of one instrument, of several.
JOIN = (("joins", "join"), ("comes in", "come in"), ("enters", "enter"))
LEAVE = (("drops out", "drop out"), ("falls silent", "fall silent"), ("stops", "stop"))
ENERGY_CHANGES: Mapping[str, tuple[str, ...]] = {
    "up": ("the energy {maybe}rises", "the energy {maybe}goes up", "it {maybe}gains energy"),
    "down": ("the energy {maybe}falls", "the energy {maybe}goes down", "it {maybe}loses energy"),
}
GENRE_CHANGES = ("it {maybe}turns to {genre}", "the style {maybe}changes to {genre}")

# --- genre_mood and genre_mood_inst: worded as one would ask for such music

PROMPT: Tiers = (
    (
        "{style} {with_band}",
        "{a_heard} {with_band}",
        "{sure_band} in {a_kind}",
        "{style}, {with_band}",
    ),
    ("{style} {with_few}", "{a_heard} {with_few}"),
    ("{style}", "{a_heard}"),
)
PROMPT_PLACE_SURE: Tiers = (
    (
        "{tempo_note} in {key}",
        "{key} at {tempo_note}",
        "{key}, {tempo_note}",
        "at {tempo_note}, {key}",
    ),
)
PROMPT_PLACE: Tiers = (
    ("{tempo_note}, {key}", "{key}, {tempo_note}", "at {tempo_note}, {key}"),
    ("{tempo_note}", "at {tempo_note}"),
    ("{key}", "in {key}"),
)
PROMPT_NOTES: tuple[Tiers, ...] = (
    (("{mood_rest} in mood", "{mood_rest} in feeling"),),
    (("{energy_note}",),),
    (("{no_drums}",),),
    (("{dance_note}",),),
    (("{tone} in tone", "{attack} in sound"),),
)
NO_DRUMS_NOTES = ("without drums", "no drums")
DANCE_NOTES: Mapping[str, tuple[str, ...]] = {
    "danceable": ("danceable", "good to dance to", "made for dancing"),
}
PERHAPS_NO_MUSIC_NOTES = ("perhaps not music", "possibly not music")
GENRE_UNSURE: Tiers = (
    (
        "genre and mood are too uncertain to name; measured, it is {traits}",
        "{traits} by measurement; genre and mood are too uncertain to name",
    ),
    ("genre and mood are too uncertain to name",),
)

# --- instrumentation

INSTRUMENTS: Tiers = (("{band}", "the instruments heard are {several}", "{whole} can be heard"),)
INSTRUMENT_NOTES: tuple[Tiers, ...] = (
    (("{no_drums}",),),
    (("{entry_note}",),),
    (("{tone} in tone", "{tone} tone"),),
    (("{attack}",),),
)
INSTRUMENTS_UNSURE: Tiers = (
    (
        "the instruments are too uncertain to name; the sound is {sound_traits}",
        "the sound is {sound_traits}, its instruments too uncertain to name",
    ),
    ("the instruments are too uncertain to name",),
)

# --- structure, brief, very_brief

FORM_NOTES: Tiers = (("form {form}", "{form}"), ("{section_count}",))
BRIEF: Tiers = (
    (
        "{a_heard} {with_band}, {place}, {tail}",
        "{a_heard} {place}, {with_band}, {tail}",
        "this is {a_heard} {with_band}, {place}, {tail}",
        "{place}, this is {a_heard} {with_band}, {tail}",
    ),
)
BRIEF_TAILS: Tiers = (
    (
        "turning on {loop}",
        "built on a recurring {loop}",
        "staying almost entirely on {one_chord}",
        "resting mainly on {chords}",
        "drawing most on {chords}",
        "{no_drums}",
        "{length} long",
        "lasting {length}",
    ),
)
VERY_BRIEF: Tiers = (
    ("{short_style} {with_one}", "{short_style}, {tempo_note}", "{short_style}, {key}"),
    ("{genre_only} {with_one}", "{genre_only}, {tempo_note}"),
    ("{short_style}",),
    ("{genre_only}",),
    ("{one}, {tempo_note}", "{one}, {key}"),
    ("{noun} {with_one}",),
    ("{one}",),
    ("{key}, {tempo_note}",),
    ("{tempo_note}", "{key}"),
    ("{noun} of {length}",),
    ("{noun}",),
)

# --- what does not sound like music

NOT_MUSIC_LEAD: Tiers = (
    (
        "this {length_adjective} recording does not sound like music",
        "a recording of {length} that does not sound like music",
        "what is heard in this {length_adjective} recording does not sound like music",
    ),
)
NOT_MUSIC: Mapping[str, Tiers] = {
    "technical": (("not music by its sound", "it does not sound like music"),),
    "genre_mood": (
        (
            "this does not sound like music, so no genre or mood is named",
            "no genre or mood is named, as this does not sound like music",
        ),
    ),
    "instrumentation": (
        (
            "this does not sound like music, so no instruments are named",
            "no instruments are named, as this does not sound like music",
        ),
    ),
    "genre_mood_inst": (
        (
            "this does not sound like music, so no genre, mood or instruments are named",
            "no genre, mood or instruments are named, as this does not sound like music",
        ),
    ),
    "structure": (
        (
            "this does not sound like music, so no form is described",
            "no form is described, as this does not sound like music",
        ),
    ),
    "brief": (
        (
            "a recording of {length} that does not sound like music, at {loudness}",
            "at {loudness}, this {length_adjective} recording does not sound like music",
        ),
        ("a recording of {length} that does not sound like music",),
    ),
    "very_brief": (
        ("does not sound like music", "not music by its sound"),
        ("not music",),
        ("{noun}",),
    ),
}
