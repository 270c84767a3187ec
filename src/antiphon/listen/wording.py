"""The words of the describer, as data: which word goes with which value, and sentences with slots.

Slots are the phrases of `phrases.py`; a sentence may be used only if all its slots are filled. A
group of sentences has tiers: those of one tier say equally much, a later tier says less. British
spelling, ASCII only, no name of a genre or an instrument.
"""

from __future__ import annotations

from collections.abc import Sequence

Scale = Sequence[tuple[float, str]]
Tiers = tuple[tuple[str, ...], ...]

NUMBER_WORDS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
    "twenty",
)  # fmt: skip

# A word holds below its bound; the last one above all bounds.
PACE_WORDS: Scale = ((72, "slow"), (108, "moderate"), (138, "brisk"), (float("inf"), "fast"))
LOUDNESS_WORDS: Scale = (
    (-27, "very quiet"),
    (-19, "quiet"),
    (-14, "moderately loud"),
    (-9, "loud"),
    (float("inf"), "very loud"),
)
RANGE_WORDS: Scale = ((4, "narrow"), (9, "moderate"), (float("inf"), "wide"))
BRIGHTNESS_WORDS: Scale = (
    (900, "dark"),
    (1600, "mellow"),
    (2600, "medium-bright"),
    (3800, "bright"),
    (float("inf"), "very bright"),
)
PERCUSSIVE_WORDS: Scale = (
    (0.12, "mostly sustained"),
    (0.3, "lightly percussive"),
    (0.55, "clearly percussive"),
    (float("inf"), "strongly percussive"),
)
# The other reading of a tempo, by its ratio to the main one.
RELATION_WORDS = {0.5: "half time", 2.0: "double time"}

ENERGY_ADJECTIVES = {
    "high": ("energetic", "high-energy"),
    "moderate": ("moderately energetic", "medium-energy"),
    "low": ("low-energy",),
}
ENERGY_PREDICATES = {
    "high": ("high in energy", "energetic"),
    "moderate": ("moderate in energy", "moderately energetic"),
    "low": ("low in energy",),
}
MUSIC_NOUNS = ("track", "recording", "piece")
ANY_NOUN = "recording"


def word_for(value: float, scale: Scale) -> str:
    """The word of the first bound above `value`."""
    return next(word for bound, word in scale if value < bound or bound == float("inf"))


# --- full: one group per sentence of the paragraph

PLACE_SURE: Tiers = (
    (
        "{in_key} at {paced_tempo}",
        "at {paced_tempo} {in_key}",
        "{in_key} at {tempo}",
        "at {tempo} {in_key}",
        "at {tempo} and {in_key}",
    ),
)
# A key that is not sure comes last, set off by a comma.
PLACE: Tiers = (
    ("at {paced_tempo}, {in_key}", "at {tempo}, {in_key}"),
    ("at {paced_tempo}", "at {tempo}", "{in_key}"),
)
LEAD: Tiers = (
    (
        "this {length_adjective} {noun} is {place}, with {metre}",
        "{a_noun} {place}, with {metre}, lasting {length}",
        "lasting {length}, this is {a_noun} {place}, with {metre}",
        "{place}, this {length_adjective} {noun} has {metre}",
        "this is {a_noun} of {length} {place}, with {metre}",
        "the {noun} lasts {length} and is {place}, with {metre}",
        "with {metre}, this {length_adjective} {noun} is {place}",
        "{tempo_note}, {key}, {metre_note}: {a_noun} of {length}",
        "this {length_adjective} {noun} runs at {paced_tempo} {in_key}, with {metre}",
        "{in_key}, this {length_adjective} {noun} moves at {paced_tempo} with {metre}",
    ),
    (
        "{a_noun} of {length} {place}",
        "this {length_adjective} {noun} is {place}",
        "{place}, this {noun} lasts {length}",
        "lasting {length}, this {noun} is {place}",
    ),
    ("this {length_adjective} {noun} has {metre}", "{a_noun} of {length} with {metre}"),
    ("{a_noun} lasting {length}", "this is {a_noun} of {length}", "the {noun} lasts {length}"),
)
OTHER_TEMPO: Tiers = (
    (
        "in {relation} it reads as {other_tempo}",
        "felt in {relation}, the pulse is {other_tempo}",
        "the pulse can also be counted in {relation}, at {other_tempo}",
    ),
    ("a pulse of {other_tempo} fits as well", "it can also be counted at {other_tempo}"),
)
HARMONY: Tiers = (
    (
        "the harmony keeps returning to {loop}",
        "a recurring progression, {loop}, carries the harmony",
        "its chords go round in {loop}",
        "much of the harmony turns on the progression {loop}",
        "the progression {loop} comes round again and again",
        "the harmony seems to turn on {likely_loop}",
        "its chords appear to go round in {likely_loop}",
        "the progression that recurs is probably {likely_loop}",
        "the harmony stays almost entirely on {one_chord}",
        "{one_chord} is held nearly throughout",
        "the harmony seems to stay on {likely_one_chord}",
        "nearly all of it appears to rest on {likely_one_chord}",
        "the harmony rests mainly on {chords}",
        "the chords heard most are {chords}",
        "harmonically it draws most on {chords}",
        "its most frequent chords are {chords}",
        "the chords seem to be mainly {likely_chords}",
        "its chords are probably {likely_chords} for the most part",
    ),
)
FORM: Tiers = (
    (
        "{story}",
        "the form is {form}, changing at {changes}",
        "its sections follow the plan {form}, changing at {changes}",
        "in outline it is {form}; the sections change at {changes}",
        "its sections are {timeline}",
        "it is laid out as {timeline}",
        "in order come {timeline}",
        "over its {one_section} no change of section was found",
        "it runs through its {one_section} without a marked change of section",
    ),
    (
        "the form is {form}, from a first change at {first_change} to a last at {last_change}",
        "its sections run {form}, first changing at {first_change}",
    ),
    (
        "it has {section_count} under {label_count}, the first change at {first_change} and the "
        "last at {last_change}",
        "{section_count} share {label_count}; the first change comes at {first_change}, the last "
        "at {last_change}",
    ),
)
# The form told as a story: first section, those between, last one.
STORY_OPENINGS = ("it opens with {part}", "it begins with {part}", "it starts on {part}")
STORY_NEW = ("moves to {part} at {time}", "goes on to {part} at {time}", "reaches {part} at {time}")
STORY_AGAIN = ("returns to {part} at {time}", "comes back to {part} at {time}")
STORY_REPEAT = ("repeats {part} at {time}", "stays with {part} from {time}")
STORY_ENDINGS = (
    "ends with {part} from {time}",
    "closes with {part} from {time}",
    "finishes on {part} from {time}",
)
TIMBRE: Tiers = (
    (
        "the tone is {tone}, with the spectral centroid near {brightness}, and {percussive} of the "
        "energy is percussive",
        "tonally it is {tone} (spectral centroid near {brightness}) and {attack}, with "
        "{percussive} of the energy in transients",
        "its sound is {tone} and {attack}: spectral centroid near {brightness}, percussive share "
        "{percussive}",
        "a spectral centroid near {brightness} makes the tone {tone}, and a percussive share of "
        "{percussive} leaves it {attack}",
        "the sound is {attack} ({percussive} percussive energy) and {tone}, its spectral centroid "
        "near {brightness}",
    ),
    (
        "the tone is {tone}, with the spectral centroid near {brightness}",
        "a spectral centroid near {brightness} makes the tone {tone}",
        "the sound is {attack}, with {percussive} of the energy in transients",
    ),
)
LOUDNESS: Tiers = (
    (
        "at {loudness} it is {loudness_word}, with a {range_word} range of {range} and true peaks "
        "at {peak}",
        "it measures {loudness}, which is {loudness_word}; the range is {range} and the true peak "
        "{peak}",
        "integrated loudness is {loudness} ({loudness_word}), loudness range {range} "
        "({range_word}), true peak {peak}",
        "its level is {loudness_word} at {loudness}, its range of {range} {range_word}, its true "
        "peak {peak}",
        "true peaks reach {peak}, the level is {loudness_word} at {loudness} and the range "
        "{range_word} at {range}",
    ),
    (
        "at {loudness} it is {loudness_word}, with true peaks at {peak}",
        "it measures {loudness}, which is {loudness_word}, with a true peak of {peak}",
        "at {loudness} it is {loudness_word}, with a {range_word} range of {range}",
    ),
    ("at {loudness} it is {loudness_word}", "its true peak is {peak}"),
)
COURSE = {
    "rising": (
        "it grows louder towards the end",
        "the level rises as it goes on",
        "it ends louder than it begins",
    ),
    "falling": (
        "it grows quieter towards the end",
        "the level sinks as it goes on",
        "it ends quieter than it begins",
    ),
    "swelling": (
        "it is loudest in the middle",
        "the level swells in the middle and falls back",
        "the middle third stands out in level",
    ),
    "dipping": (
        "it drops in level in the middle and comes back",
        "the middle is quieter than what surrounds it",
        "the level dips halfway and recovers",
    ),
    "steady": (
        "the level hardly changes from beginning to end",
        "it holds its level from first to last",
        "the level stays even",
    ),
}
COURSE_NOTES = {
    "rising": "rising level",
    "falling": "falling level",
    "swelling": "level highest in the middle",
    "dipping": "level lowest in the middle",
    "steady": "even level",
}
LOUDEST: Tiers = (
    (
        "the loudest moment comes around {loudest}",
        "it peaks in level around {loudest}",
        "it is at its loudest near {loudest}",
    ),
)
FADE = ("it fades out", "the end is a fade-out", "it closes in a fade-out")
TUNING: Tiers = (
    (
        "it is tuned about {tuning} A = 440 Hz",
        "tuning lies about {tuning} A = 440 Hz",
        "the pitch stands about {tuning} A = 440 Hz",
    ),
)
DAMAGE: Tiers = (
    (
        "only {decoded} of a declared {declared} could be decoded",
        "of a declared {declared}, only {decoded} could be decoded",
    ),
)
FILE_PROBLEMS = ("the file showed damage when it was decoded", "decoding the file met with damage")
CLIPPED: Tiers = (
    ("clipping shows in {clipped} at full scale", "it clips, with {clipped} at full scale"),
)
SILENCE: Tiers = (("it is silent for {silence} of the time", "silence takes up {silence} of it"),)
ROUGH_SECTIONS: Tiers = (
    ("section boundaries are {rough_sections}", "the times of the sections are {rough_sections}"),
)
NOT_MEASURED: Tiers = (
    ("{names} could not be measured: {reason}",),
    ("{names} could not be measured",),
)
NOR_MEASURED: Tiers = (
    ("nor could {names} be measured: {reason}",),
    ("nor could {names} be measured",),
)
UNSURE: Tiers = (
    ("{unsure} remained too uncertain to state", "{unsure} could not be given with confidence"),
)

# --- technical: a head, and notes after it

HEAD_SURE: Tiers = (
    (
        "{tempo_note}, {key}, {metre_note}",
        "{key}, {tempo_note}, {metre_note}",
        "{key} at {tempo_note}, {metre_note}",
        "{tempo_note} in {key}, {metre_note}",
    ),
    ("{tempo_note} in {key}", "{key} at {tempo_note}"),
)
HEAD: Tiers = (
    ("{tempo_note}, {key}, {metre_note}", "{key}, {tempo_note}, {metre_note}"),
    ("{tempo_note}, {key}", "{tempo_note}, {metre_note}", "{key}, {metre_note}"),
    ("{tempo_note}",),
    ("{key}",),
    ("{metre_note}",),
)
NOT_MEASURED_NOTE: Tiers = (("{names} not measured ({reason})",), ("{names} not measured",))
UNSURE_NOTE: Tiers = (("{unsure} uncertain",),)
# In order of importance; of each the first that fits.
NOTES: tuple[Tiers, ...] = (
    (("only {decoded} of {declared} decoded",),),
    (("{clipped} clipped", "clipping in {clipped}"),),
    (
        (
            "recurring {loop}",
            "{loop} recurring",
            "chord cycle {loop}",
            "probably recurring {likely_loop}",
            "mostly {one_chord}",
            "{one_chord} nearly throughout",
            "probably mostly {likely_one_chord}",
            "mainly {chords}",
            "chords mainly {chords}",
            "probably mainly {likely_chords}",
        ),
    ),
    (("{loudness}",),),
    (("{range_word} loudness range", "loudness range {range}"),),
    (("{tone} tone", "centroid {brightness}"),),
    (("{attack}", "{percussive} percussive"),),
    (("{course_note}",),),
    (("tuned {tuning_note}",),),
    (("true peak {peak}", "peaks at {peak}"),),
)

# --- genre_mood, instrumentation, genre_mood_inst: what was not heard, and what was measured

GENRE_NOT_HEARD: Tiers = (
    (
        "genre and mood were not heard; measured, it is {traits}",
        "{traits} by measurement; genre and mood were not heard",
        "by measurement {traits}; genre and mood were not heard",
        "the signal is {traits}; genre and mood were not heard",
        "measured as {traits}, with genre and mood not heard",
    ),
    ("genre and mood were not heard, and {no_traits}: {reason}",),
    (
        "genre and mood were not heard, and {no_traits}",
        "{no_traits}; genre and mood were not heard",
    ),
    ("genre and mood were not heard",),
)
INSTRUMENTS_NOT_HEARD: Tiers = (
    (
        "instruments were not heard; the sound is {sound_traits}",
        "instruments were not heard; measured, it sounds {sound_traits}",
        "{sound_traits} sound; instruments were not heard",
        "a {sound_traits} timbre; instruments were not heard",
        "sound measured as {sound_traits}; instruments not heard",
        "instruments were not heard; spectral centroid {brightness}, {percussive} percussive",
    ),
    ("instruments were not heard, and {no_sound}: {reason}",),
    ("instruments were not heard, and {no_sound}", "{no_sound}; instruments were not heard"),
    ("instruments were not heard",),
)
NEITHER_HEARD: Tiers = (
    (
        "genre, mood and instruments were not heard; measured, it is {traits}",
        "{traits} by measurement; genre, mood and instruments were not heard",
        "by measurement {traits}; genre, mood and instruments were not heard",
        "the signal is {traits}; genre, mood and instruments were not heard",
    ),
    ("genre, mood and instruments were not heard, and {no_traits}: {reason}",),
    (
        "genre, mood and instruments were not heard, and {no_traits}",
        "{no_traits}; genre, mood and instruments were not heard",
    ),
    ("genre, mood and instruments were not heard",),
)

# --- structure

STRUCTURE: Tiers = (
    (
        "{timeline_note}",
        "form {form}, changing at {changes}",
        "{form}, changing at {changes}",
        "one section throughout, {one_section} long",
        "a single section of {one_section}",
        "one continuous section of {one_section}",
    ),
    ("{section_count}, changing at {changes}", "form {form}, first change at {first_change}"),
    (
        "{section_count} under {label_count}, first change {first_change}, last {last_change}",
        "{section_count}, {label_count}; changes from {first_change} to {last_change}",
    ),
    ("{section_count}, first change at {first_change}",),
    ("{section_count}",),
)
STRUCTURE_NOT_MEASURED: Tiers = (
    ("sections could not be measured: {reason}",),
    ("no sections could be measured over {length}", "sections could not be measured"),
)
STRUCTURE_UNSURE: Tiers = (
    ("{unsure} are too uncertain to state", "{unsure} could not be given with confidence"),
)

# --- brief and very_brief

BRIEF: Tiers = (
    ("{a_character} {place}, {tail}",),
    ("{a_character} {place}",),
    ("{a_character} of {length} in which {no_place} could not be measured",),
    ("{a_character} of {length}, {tail}",),
    ("{a_character} of {length}", "{a_character} lasting {length}"),
)
BRIEF_TAILS: Tiers = (
    (
        "turning on {loop}",
        "built on a recurring {loop}",
        "probably turning on {likely_loop}",
        "staying almost entirely on {one_chord}",
        "apparently staying on {likely_one_chord}",
        "resting mainly on {chords}",
        "drawing most on {chords}",
        "probably resting mainly on {likely_chords}",
    ),
    (
        "with a spectral centroid near {brightness}",
        "with {percussive} of the energy in transients",
        "at {loudness}",
    ),
)
VERY_BRIEF: Tiers = (
    (
        "{energy_adjective}, {key}, {tempo_note}",
        "{key}, {tempo_note}, {energy_adjective}",
        "{key}, {tempo_note}, {tone}",
    ),
    ("{tempo_note} in {key}", "{key}, {tempo_note}"),
    ("{tempo_note}, {energy_adjective}, {tone}", "{tempo_note}, {attack}"),
    ("{key}, {energy_adjective}, {tone}", "{key}, {attack}"),
    ("{tempo_note}", "{key}"),
    ("{tone}, {attack}", "{tone} {noun} of {length}", "{silent} {noun} of {length}"),
    ("{noun} of {length}",),
    ("{noun}",),
)
