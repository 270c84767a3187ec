"""The words of questions, as data: which wording asks for what.

Patterns are matched against text as `words.clauses` leaves it: small letters, single spaces, no
contractions, times as `@65`. Of a group, the first pattern that finds its words has them: what
stands further down no longer sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Topic = Literal[
    "key", "tempo", "metre", "tuning", "chords", "sections", "compare", "loudness", "duration",
    "silence", "brightness", "beats", "file", "genre", "mood", "energy", "instruments", "music",
    "dance", "describe", "about", "help",
    # what the built-in listener cannot know
    "voices", "lyrics", "identity", "opinion", "melody", "production",
]  # fmt: skip
DECLINED: tuple[Topic, ...] = (
    "voices", "lyrics", "identity", "opinion", "melody", "production",
)  # fmt: skip

IT = (
    r"(?:it|this|that|(?:the|this|that) (?:whole |entire )?(?:song|track|piece|music|recording"
    r"|tune|file|audio|clip|thing|number|composition|one))"
)


@dataclass(frozen=True)
class Rule:
    """Words that ask for one aspect of a topic."""

    topic: Topic
    aspect: str
    pattern: re.Pattern[str]


def _rules(topic: Topic, **aspects: str) -> list[Rule]:
    return [Rule(topic, name, re.compile(rf"\b(?:{words})\b")) for name, words in aspects.items()]


# --- what is asked about it all, and about the answerer

ABOUT_RULES = (
    *_rules(
        "about",
        value=r"who (?:are|r) you|what (?:are|r) you(?! (?:sure|hear\w*|doing))|are you (?:an? )?"
        r"(?:robot|ai|human|bot|person|machine|computer|real|chatgpt|gpt|llm|language model)"
        r"|(?:kind|sort|type) of (?:ai|bot|robot|model)|your name|(?:what|which) (?:ai "
        r"|language )?model|introduce yourself|how do you work",
    ),
    *_rules(
        "help",
        value=r"what (?:else )?(?:can|could|may|do|should) (?:you|i|we) (?:answer|do|tell|ask|know"
        r"|say|understand|measure)(?: (?:me|you))?|(?:what|which) (?:questions|things"
        r"|kinds? of questions)"
        r"|help|capabilities"
        r"|^(?:hello|hi|hey|thanks|thank you)(?: there)?$"
        r"|how (?:can|do) (?:you help|i use (?:you|this))",
    ),
    *_rules(
        "describe",
        value=r"describe|description|what have (?:we|you) got|sum (?:it|this|that|the \w+) up"
        r"|sum up|summar\w+|overview|caption|analy[sz]e|analysis"
        rf"|tell (?:me|us) (?:something |more |everything |all |a bit )?about {IT}"
        r"|tell me (?:everything|something|more)|what (?:do|can) you hear|what am i hearing"
        rf"|what (?:does|do) {IT} sound like|how does {IT} sound|what is {IT} like"
        r"|(?:all|the|any|some) (?:facts|info|information|details|data)|what do you know"
        rf"|what (?:can|could) you (?:say|tell (?:me|us)) about {IT}",
    ),
)  # fmt: skip

# --- what is not known here: before all else, so that no word of these is taken for another

DECLINED_RULES = (
    *_rules(
        "lyrics",
        value=r"lyrics?|the words|words (?:to|of)|what words|languages?|subtitles?|verses say"
        rf"|what is {IT} about|what (?:is|are) (?:the )?(?:meaning|message|story)|meaning|message"
        rf"|what does {IT} (?:say|mean)|(?:he|she|they) (?:say|saying|says)|rhymes?",
    ),
    *_rules(
        "voices",
        value=r"(?:who (?:is )?)?(?:sings?|singers?|singing|sung|sang|vocals?|vocalists?|voices?"
        r"|rapp(?:er|ing|ed)|a ?cappella|speak(?:s|er|ing)?|falsetto|soprano|alto|tenor|baritone"
        r"|instrumental(?: or vocal)?|male or female|female or male|man or (?:a )?woman"
        r"|woman or (?:a )?man|harmonizing|whispers?|shout(?:s|ing)?|scream(?:s|ing)?|humming)",
    ),
    *_rules(
        "identity",
        value=r"artists?|bands?|composers?|composed|songwriter|producer|album|titles?|released?"
        r"|years?|decade|era|nineties|eighties|seventies|sixties|copyright|licen[sc]ed?|shazam"
        r"|recorded|record label|cover version|cover of|remix|soundtrack|movie|film|sampled"
        rf"|by (?:whom|who)|who (?:is|was) (?:this|it|that)|what is {IT} called"
        r"|who (?:plays?|wrote|made|did|performs?|performed|created|recorded|owns?"
        r"|is (?:the|playing(?! what)|behind|performing))|(?:what|which) (?:song|piece|tune) is"
        r"|name of (?:the|this|that) (?:song|track|piece|tune|musician)|identify"
        rf"|recogni[sz]e {IT}"
        rf"|name {IT}|when was {IT}|how old|wrote|where (?:is|was) {IT} from"
        r"|(?:what|which) (?:country|culture)|mozart|beethoven|bach|chopin|beatles",
    ),
    *_rules(
        "opinion",
        value=rf"(?:is|was|are) {IT} (?:any |really |very |a )?(?:good(?! (?:for|to) danc)|bad"
        r"|nice|great|beautiful"
        r"|boring|catchy|popular|famous|hit|original|interesting|perfect|professional|well)"
        r"|any good|how (?:good|bad|original|catchy|popular)|do you (?:like|love|enjoy|hate)"
        r"|would you (?:listen|buy|like|rate|recommend)|your (?:opinion|favou?rite)"
        r"|what do you think|quality|(?<!sample )(?<!sampling )(?<!bit )rat(?:e|ing)|best"
        r"|better|worse|worst|recommend|improve|feedback|critique|wrong with|mistakes?"
        r"|should i (?:buy|listen|like)|remind\w*|well (?:played|made|written)|catchy",
    ),
    *_rules(
        "production",
        value=r"reverb\w*|echo|effects?|mix(?:ed|ing)?|master(?:ed|ing)?(?! (?:hot|loud))"
        r"|auto ?tuned?|pann?(?:ed"
        r"|ing)|stereo width|equali[sz]\w+|eq|microphones?|mics?|live or studio|studio or live"
        r"|live (?:recording|version)|studio|hiss|hum|crackle|background noise|daw|plug ?ins?",
    ),
)  # fmt: skip
# Notes of a scale and the tonic are known: these come after the key's.
LATE_DECLINED_RULES = (
    *_rules(
        "melody",
        value=r"melod\w+|notes?|transcri\w+|sheet music|tabs?|tablature|riffs?|motifs?"
        r"|pitch(?:es)?"
        r"|highest|lowest|intonation|scores?|midi|counterpoint|intervals?",
    ),
)

# --- what is measured and heard, in order

NOTE = r"(?:[a-g](?:#|b| sharp| flat)?)"
_NAMED_KEY = rf"(?<!i )(?P<key>{NOTE} ?(?:major|minor|maj|min|m))"
RULES = (
    *_rules(
        "metre",
        value=r"(?:time|metrical) signature|meter|metre|metrum|beats? (?:are |is )?(?:there )?"
        r"(?:per|to|in|of|for)(?: the| a| an| each| every| one)? (?:bar|measure)|beats (?:a|each"
        r"|every) (?:bar|measure)|odd time|how (?:do|should|would|can) (?:\w+ ){1,2}count"
        r"|conductor|(?:3|three) or (?:4|four)"
        r"|counted|common time|(?:triple|duple|compound|ternary|binary)(?: time| feel| metre)?"
        r"|three four"
        r"|four four|six eight|five four|seven eight|waltz\w*|[2-9]/(?:2|4|8)"
        r"|in (?:3|4|5|7|three|four|five|seven)(?: time)?(?= ?$)",
    ),
    *_rules(
        "key",
        relative=r"relative (?:minor|major|key)",
        change=r"keys? chang\w+|chang\w+ (?:of |in )?(?:the )?keys?|modulat\w+",
        scale=r"scales?|notes (?:are |is )?(?:in|of) the key|modal",
    ),
    *_rules("chords", named=rf"(?P<chord>{NOTE} ?(?:major|minor|maj|min|m)?7?) chords?"),
    *_rules(
        "key",
        named=rf"(?:the )?(?:key (?:of )?)?{_NAMED_KEY}",
        mode=r"(?:what |which )?mode|(?:major|minor) (?:or|and|vs) (?:major|minor)"
        r"|(?:is|was|a|in)(?: \w+)?(?: a)? (?P<mode>major|minor)(?: keys?| mode)?"
        r"|(?P<mode2>major|minor) keys?|(?P<mode3>major|minor)(?= ?$)",
        value=r"keys?(?! ?boards?)|key signature|tonality|tonal (?:cent(?:re|er)|home)|tonic"
        r"|home note|root note|notes? is home|camelot|diatonic|atonal",
    ),
    *_rules(
        "tempo",
        double=r"(?:half|double) ?(?:time|tempo|speed)|(?:twice|half|double) as (?:fast|slow)"
        r"|(?:twice|half|double) (?:the|that) (?:tempo|speed|bpm)|octave error",
        change=r"tempo (?:chang\w+|constant|steady|stable|drift\w*|varia\w+|map)"
        r"|(?:chang\w+|vary|varies|keep|keeps|constant|steady|stable|same) (?:of |in )?"
        r"(?:the |its )?(?:tempo|speed|pace|time)"
        r"|(?:speed|speeds|slow|slows|speeding|slowing) (?:up|down)"
        r"|accelerat\w+|ritard\w*|rubato|(?:get|gets|getting|become|becomes) (?:faster|slower)"
        r"|steady",
        value=r"temp[oi]|bpm|bmp|(?P<bpm>\d+) ?(?:bpm)?(?= (?:bpm|beats))|beats? (?:per|a|every"
        r"|each|in a|in one) min\w*|how (?:fast|slow|quick|quickly|slowly)|speed|pace|metronome"
        r"|how many beats in @60|what is the beat|what beat",
        pace=r"fast|slow|quick|rapid|up ?tempo|down ?tempo|brisk|sluggish|ballad|slow or fast"
        r"|fast or slow",
    ),
    *_rules(
        "dance",
        value=r"danc\w+|dance ?floor|groovy|boogie|clubs?",
    ),
    *_rules(
        "tuning",
        value=r"tuning|tuned|(?:in|out of) tune|a ?440|440|432|a 4\d\d|concert pitch|detuned"
        r"|cents|(?:sharp or flat|flat or sharp)|(?:reference|standard) pitch|pitched"
        r"|hertz|(?:too|bit|little) (?:sharp|flat)|retun\w+|(?:standard|off) pitch"
        r"|(?:is|sounds?)(?: \w+){0,3} (?:sharp|flat)(?= ?$)",
    ),
    *_rules(
        "chords",
        first=r"(?:first|opening|starting) (?:chords?|harmony)|chords? (?:does|do) (?:it|this"
        r"|the song) (?:start|begin|open)",
        last=r"(?:last|final|ending|closing) (?:chords?|harmony)|chords? (?:does|do) (?:it|this"
        r"|the song) (?:end|finish|close)",
        count=r"how many (?:different |distinct |separate )?(?:chords?|harmonies)"
        r"|number of chords",
        progression=r"(?:chord |harmonic )?progressions?|(?:chord|harmonic) (?:loop|cycle|sequence"
        r"|pattern|changes)|repeating chords",
        value=r"chords?|harmon(?:y|ies|ic|ically)|triads?|the changes(?= ?$)"
        r"|what (?:do|should|can|could) i (?:have to )?play",
    ),
    *_rules(
        "file",
        damage=r"damag\w+|corrupt\w*|broken|truncated|intact|cut off|incomplete|decod\w+",
        value=r"sampl(?:e|ing) ?(?:rate|frequency)|stereo|mono|channels?|bit ?rate|bit ?depth"
        r"|(?:file|audio) format|file size|khz|codec",
    ),
    *_rules(
        "silence",
        value=r"silen\w+|pauses?|gaps?|rests?(?! (?:on|of|mainly))|empty|dead air",
    ),
    *_rules(
        "loudness",
        peak=r"true peaks?|peak (?:level|value)?s?(?= ?$| of| in| level)|dbtp|headroom"
        r"|how high (?:does|do) (?:it|the level|the peaks?) (?:peak|go|get)|peaks(?= at)"
        r"|peaking|maximum level|max level",
        clipping=r"clip(?:s|ped|ping)|clipp?ing|distort(?:s|ed|ion|ing)|overload\w*|saturated"
        r"|hot|overs",
        range=r"dynamic range|dynamics?|loudness range|compress\w+|squash\w*|brick ?wall\w*|lra"
        r"|range of (?:loudness|volume)|how dynamic",
        loudest=r"(?:the )?loudest|climax|most loud|highest (?:level|volume)|louder than the rest",
        quietest=r"(?:the )?(?:quietest|softest)|most quiet|lowest (?:level|volume)|least loud",
        course=r"(?:get|gets|getting|grow|grows|growing|become|becomes|becoming|go|goes|turn|turns"
        r"|end|ends) (?:any |much |progressively )?(?:louder|quieter|softer)|(?:de)?crescendo"
        r"|diminuendo|fad(?:e|es|ing)(?: ?(?:in|out|away))?|build(?:s|ing)?(?: up)?|build ups?"
        r"|(?:level|volume|loudness) (?:change|vary|rise|fall|stay|course|curve)\w*|swells?",
        value=r"loud|louder|loudness|lufs|volume|levels?|quiet|quieter|soft|softer|rms|decibels?"
        r"|db|dbfs|lkfs",
    ),
    *_rules(
        "energy",
        most=r"(?:most|peak|highest|maximum|max) (?:energ\w+|intens\w+|lively|exciting|powerful"
        r"|point of energy)|energy (?:peaks?|highest|maximum|climax)|energ\w+ (?:the )?"
        r"(?:most|highest)|(?:energy|intensity) (?:the |at its )?(?:highest|peak|most|maximum)",
        least=r"(?:least|lowest|minimum|calmest) ?(?:energ\w+|intens\w+|lively|moment|part)"
        r"|calmest|energy (?:the |at its )?(?:lowest|least|minimum)",
        course=r"(?:energy|intensity) (?:chang\w+|curve|course|rise\w*|fall\w*|grow\w*|build\w*"
        r"|evolve\w*|develop\w*|increase\w*|decrease\w*|over time)",
        value=r"energ(?:y|etic|ies|etically)|intens\w+|lively|powerful|exciting|hype|hyped|driving"
        r"|aggressive|wild|mellow energy|chill or \w+",
    ),
    *_rules(
        "beats",
        first=r"(?:first|opening) (?:down)? ?beats?|first (?:bar|measure)|where is the one"
        r"|pick ?up|upbeat measure",
        bars=r"(?:how many|number of|total|count (?:the|of)) (?:bars|measures)|bars|measures"
        r"|down ?beats?|bar lines?",
        value=r"(?:how many|number of|count the) beats|beats?|beat (?:times|grid|positions)|pulse",
    ),
    *_rules(
        "music",
        value=r"(?:really |actually |even |any )?(?:music|song|talk|speech|noise) or "
        r"(?:just |a |an )?(?:music|song|speech|noise|talk\w*|sound|not)|podcast|audio ?book"
        r"|speech"
        rf"|is (?:{IT}|there) (?:really |actually |even |just |any )*(?:music|noise|a song)(?= ?$)"
        r"|(?:as|into) music",
    ),
    *_rules(
        "mood",
        value=r"moods?|feel|feels|feeling|feelings|emotion\w*|vibes?|atmospher\w+|character"
        r"|sentiment|moody|ambian?ce",
    ),
    *_rules(
        "genre",
        value=r"(?:sub ?)?genres?|styles?|(?:what|which) (?:kind|sort|type|style|form)s? of"
        r"(?: a)? (?:music|song|track|tune|piece|thing|recording)|what music|categor\w+"
        r"|file (?:it|this) under|file this|classif\w+|what (?:kind|sort|type) (?:is|of)",
    ),
    *_rules(
        "instruments",
        absent=r"instruments? (?:is |are |that )*(?:missing|absent|lacking|not)|(?:missing|absent)"
        r" instruments?",
        first=r"(?:what|which) instruments? (?:opens?|starts?|begins?|comes? first|enters? first)"
        r"|(?:first|opening) instruments?|instruments? (?:that )?(?:opens?|starts?|begins?)",
        lead=r"(?:main|lead|leading|dominant|solo|loudest|principal|most prominent) instruments?"
        r"|instruments? (?:is |are )?(?:most prominent|dominant|leading|loudest|dominates?|leads?)"
        r"|(?:plays|carries|has) the (?:lead|tune)",
        value=r"instruments?|instrumentation|orchestrat\w+|line ?up|ensemble"
        r"|(?:what|which) (?:is|are) (?:being )?play(?:ing|ed)|acoustic or electr\w+"
        r"|(?:what|who|which) (?:do|can|else) (?:you|i|we) hear play\w*",
    ),
    *_rules(
        "brightness",
        value=r"bright\w*|dark|darker|timbr\w+|tone|spectral|spectrum|centroid|warm|warmth|treble"
        r"|tone colou?r|colou?r|percussive\w*|dull|harsh|boomy|muffled|tinny|muddy",
    ),
    *_rules(
        "sections",
        count=r"how many (?:different |distinct )?(?:sections?|parts?|segments?|movements?)"
        r"|number of (?:sections|parts|segments)",
        length=r"(?:longest|shortest) (?:section|part)",
        value=r"sections?|parts?|structur\w+|form|segments?|movements?|layout|arrangement|outline"
        rf"|how is {IT} (?:built|laid out|organi[sz]ed|put together)|repeats?|repeated|repetiti\w+"
        r"|aaba|timeline",
    ),
    *_rules(
        "duration",
        value=r"duration|length|run ?time|running time|playing time|total time|how many "
        r"(?:minutes|seconds|mins|secs|hours)"
        r"|(?:long|longer|short|shorter)(?: than @[\d.]+)?(?= ?$)"
        rf"|how long (?:is|does|will|was|did|do) (?:{IT}|the)|how (?:long|short)|lasts?",
    ),
)  # fmt: skip

# --- frames: what of a thing is wanted

WHY = re.compile(
    r"\b(?:why|how (?:sure|certain|confident|reliable|accurate)|are you (?:really |so |quite )?"
    r"(?:sure|certain|confident)|how (?:do|can|did) you (?:know|tell)|really|confidence|certainty"
    r"|is (?:that|this|it) (?:right|correct|certain|true|reliable)|runner up|second best"
    r"|what else could|next best|are you positive|you sure|prove)\b"
)
WHEN = re.compile(
    r"\b(?:when|where|at (?:what|which)|what (?:time|times|point|moment|second|minute)"
    r"|(?:which|what) (?:part|section|passage|second)s?|how (?:soon|late|far))\b"
)
WHICH_PART = re.compile(
    r"\b(?:which|what|in what|in which) (?:part|section|passage|segment)s?"
    r"(?: (?:is|are|has|have|does|do|of))?\b|\b(?:part|moment|point|passage|section|bit|place)s?\b"
)
START = re.compile(
    r"\b(?:starts?|started|starting|begins?|beginning|com(?:e|es|ing) (?:in|on)|enters?|entry"
    r"|entrance|enter|first (?:hear|heard|play\w*|appear\w*)|joins?|kicks? in|sets? in|appears?"
    r"|introduced|drops? in|onset)\b"
)
STOP = re.compile(
    r"\b(?:stops?|stopped|stopping|ends?|drops? out|dropping out|leaves?|finish(?:es)?|cease[sd]?"
    r"|disappears?|go(?:es)? (?:away|out|silent)|last (?:hear|heard|play\w*)|cuts? out|quits?)\b"
)
THROUGHOUT = re.compile(
    r"\b(?:throughout|all (?:the time|along|the way)|(?:the )?(?:whole|entire) (?:time|song|track"
    r"|piece|recording|tune|thing|way)|always|constantly|continuous\w*|from (?:the )?(?:start|"
    r"beginning) to (?:the )?(?:end|finish)|non ?stop|without (?:a )?(?:pause|break)"
    r"|every section)\b"
)
HOW_MANY = re.compile(r"\b(?:how many|number of|count)\b")
HOW_LONG = re.compile(r"\b(?:how long|length|duration|long)\b")
COMPARE = re.compile(
    r"\b(?:compar\w+|differ\w*|versus|vs|contrast\w*|similar\w*|unlike|alike|apart|distinguish\w*"
    r"|changes? between|the same as|than|distinct)\b"
)
NEGATED = re.compile(
    r"(?<!or )\bnot\b(?! sure)|\bno\b(?! (?:idea|problem|matter|\d))"
    r"|\b(?:never|without|lacks?|lacking|absent|missing|neither|nothing)\b"
)
# How something is played, or what of it is better: more than whether it plays.
MANNER = re.compile(
    r"\b(?:louder|quieter|softer|higher|lower|faster|better|worse|best|good|bad|great|well|solos?"
    r"|tune|tight|sloppy|skilled|than)\b"
)
OPENS = re.compile(r"\b(?:start|begin|open)(?:s|ed|ing)? with\b")
FOLLOW_UP = re.compile(r"^(?:and|what about|how about|and what about|same (?:for|question)|then"
                       r"|ok|okay|so|now)\b")  # fmt: skip

ALL_RULES = (ABOUT_RULES, DECLINED_RULES, LATE_DECLINED_RULES, RULES)
ALL_FRAMES = (
    WHY, WHEN, WHICH_PART, START, STOP, THROUGHOUT, HOW_MANY, HOW_LONG, COMPARE, NEGATED, MANNER,
    OPENS, FOLLOW_UP,
)  # fmt: skip
