"""What clients send, as pydantic checks it. Fields that OpenAI's clients send and we have no use
for are passed over; our own requests refuse what they do not know."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from antiphon.controls import ENERGIES, GENRES, METRES

MAX_SEED = (1 << 63) - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Prompt = Annotated[str, Field(min_length=1, max_length=100_000)]
Id = Annotated[str, Field(min_length=1, max_length=100)]
AudioFormat = Literal["wav", "flac", "mp3", "ogg", "opus"]
_GENRES, _METRES, _ENERGIES = (f"one of {', '.join(k)}" for k in (GENRES, METRES, ENERGIES))
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=False, allow_inf_nan=False)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


# Music.


class MusicBody(_Strict):
    """A piece to compose. Of `seconds`, `bars`, `sections` and `loop_bars` at most one; a field
    that is left out is left to the prompt, and then to the arranger."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {"prompt": "calm waltz for harp", "seconds": 10, "seed": 7},
                {"prompt": "house", "tempo": 124, "key": "A minor", "loop_bars": 8},
            ]
        },
    )

    prompt: Prompt
    model: str | None = Field(default=None, max_length=200, description="by its id")
    seconds: Finite | None = Field(default=None, ge=1, description="length of the piece")
    seed: Seed | None = Field(
        default=None, description="the same seed gives the same piece; else drawn"
    )
    genre: str | None = Field(default=None, max_length=100, description=_GENRES)
    mood: list[str] | str | None = Field(default=None, max_length=1000)
    tempo: Finite | None = Field(default=None, description="beats per minute, 40 to 240")
    key: str | None = Field(default=None, max_length=100, description='as in "E minor"')
    metre: str | None = Field(default=None, max_length=100, description=_METRES)
    instruments: list[str] | str | None = Field(default=None, max_length=1000)
    without: list[str] | str | None = Field(default=None, max_length=1000)
    energy: str | None = Field(default=None, max_length=100, description=_ENERGIES)
    bars: int | None = Field(default=None, ge=1, le=2000)
    sections: list[str] | str | None = Field(
        default=None, max_length=2000, description='labels and bars, as in "intro:4,verse:8"'
    )
    intro: bool | None = None
    ending: bool | None = None
    section: list[str] | str | None = Field(
        default=None,
        max_length=10_000,
        description='another prompt from there on: "full choir@12"',
    )
    negative: str | None = Field(default=None, max_length=100_000)
    continue_: Id | None = Field(
        default=None, alias="continue", description="id of a file or of a music job to go on from"
    )
    melody: Id | None = Field(default=None, description="id of a file whose melody is followed")
    from_score: dict[str, Any] | None = Field(default=None, description="as results have it")
    loop_bars: int | None = Field(default=None, ge=1, le=2000)
    candidates: int | None = Field(default=None, ge=1, le=16)
    temperature: Finite | None = None
    top_k: int | None = Field(default=None, ge=0, le=1_000_000)
    top_p: Finite | None = None
    guidance: Finite | None = None
    score_guidance: Finite | None = None
    format: AudioFormat = "wav"
    sample_rate: int | None = None
    bit_depth: int | None = None
    channels: int | None = None
    loudness: Finite | None = Field(default=None, description="LUFS of the whole piece")
    fade_out: Finite | None = Field(default=None, description="seconds")


class UnderstandingBody(_Strict):
    """A prompt to be read, not played."""

    prompt: str = Field(max_length=100_000, examples=["energetic funk in E minor, 105 bpm"])


class GenerateBody(_Strict):
    """The short form: a prompt and a length, and whatever else `MusicBody` has."""

    model_config = ConfigDict(
        extra="allow",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"prompt": "calm waltz for harp", "duration": 10}]},
    )

    prompt: Prompt
    duration: Finite | None = Field(default=None, ge=1, description="seconds")


class SpeechBody(_Lenient):
    """OpenAI's speech: what is spoken there is a prompt here, and what comes is music."""

    model_config = ConfigDict(
        extra="ignore",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [{"model": "antiphon-composer", "input": "calm waltz", "voice": "jazz"}]
        },
    )

    input: Prompt
    model: str | None = Field(default=None, max_length=200)
    voice: str | dict[str, Any] | None = Field(
        default=None, description="a genre, or anything else, which is passed over"
    )
    instructions: str | None = Field(default=None, max_length=100_000, description="prompt, too")
    response_format: Literal["mp3", "opus", "flac", "wav", "pcm", "ogg"] = "mp3"
    stream_format: Literal["audio", "sse"] = "audio"
    speed: Finite | None = None
    seconds: Finite | None = Field(default=None, ge=1)
    seed: Seed | None = None


class ElevenSection(_Lenient):
    """A part of a composition plan."""

    section_name: str = Field(default="", max_length=200)
    positive_local_styles: list[str] = Field(default_factory=list, max_length=100)
    negative_local_styles: list[str] = Field(default_factory=list, max_length=100)
    duration_ms: int = Field(ge=1_000, le=600_000)
    lines: list[str] = Field(default_factory=list, max_length=1000)


class ElevenPlan(_Lenient):
    """ElevenLabs' composition plan."""

    positive_global_styles: list[str] = Field(default_factory=list, max_length=100)
    negative_global_styles: list[str] = Field(default_factory=list, max_length=100)
    sections: list[ElevenSection] = Field(default_factory=list, max_length=100)


class ElevenBody(_Lenient):
    """ElevenLabs' music: a prompt or a plan."""

    model_config = ConfigDict(
        extra="ignore",
        allow_inf_nan=False,
        json_schema_extra={"examples": [{"prompt": "calm waltz", "music_length_ms": 10_000}]},
    )

    prompt: str | None = Field(default=None, min_length=1, max_length=100_000)
    composition_plan: ElevenPlan | None = None
    music_length_ms: int | None = Field(default=None, ge=1_000, le=600_000)
    model_id: str | None = Field(default=None, max_length=200)
    seed: Seed | None = None
    force_instrumental: bool | None = None
    respect_sections_durations: bool | None = None


# Listening.


class MeasurementBody(_Strict):
    """A stored file to be measured."""

    file_id: Id
    model: str | None = Field(default=None, max_length=200)
    pitch: bool = Field(default=False, description="also the pitch track of a single voice")


class DescriptionBody(_Strict):
    """A stored file to be described; `facts` is what becomes of claims that are contradicted."""

    file_id: Id
    model: str | None = Field(default=None, max_length=200)
    kinds: list[Annotated[str, Field(max_length=40)]] | None = Field(default=None, max_length=32)
    set: Literal["standard", "short", "teaching", "structured"] | None = None
    prompt: str | None = Field(default=None, min_length=1, max_length=100_000)
    facts: Literal["annotate", "correct", "drop", "off"] = "annotate"
    hint_facts: bool = False
    long: Literal["truncate", "chunk", "slide"] = "truncate"
    max_new_tokens: int | None = Field(default=None, ge=1, le=2048)
    temperature: Finite | None = Field(default=None, ge=0, le=5)
    seed: Annotated[int, Field(ge=0, le=(1 << 31) - 1)] | None = None


class InferBody(_Lenient):
    """A question about a stored file."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"file_id": "file_…", "text": "Which key is it in?"}]},
    )

    file_id: Id
    text: str = Field(default="", max_length=100_000)


# OpenAI's chat.


class InputAudio(_Lenient):
    data: str
    format: str = Field(default="wav", max_length=20)


class AudioUrl(_Lenient):
    url: str


class FileRef(_Lenient):
    file_id: Id | None = None
    file_data: str | None = None
    filename: str | None = Field(default=None, max_length=1000)


class Part(_Lenient):
    """A piece of a message: text, or sound in one of three forms."""

    type: Literal["text", "input_audio", "audio_url", "file"]
    text: str | None = None
    input_audio: InputAudio | None = None
    audio_url: AudioUrl | None = None
    file: FileRef | None = None


class ChatMessage(_Lenient):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None


class StreamOptions(_Lenient):
    include_usage: bool = False


class JsonSchema(_Lenient):
    name: str = Field(default="answer", max_length=100)
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(_Lenient):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class AudioOut(_Lenient):
    format: Literal["wav", "mp3", "flac", "opus", "pcm16"] = "wav"
    voice: str | dict[str, Any] | None = None


class ChatBody(_Lenient):
    """OpenAI's chat completion, of which one recording may be spoken."""

    model_config = ConfigDict(
        extra="ignore",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {
                    "model": "antiphon-listener",
                    "messages": [{"role": "user", "content": "What can you hear?"}],
                }
            ]
        },
    )

    messages: list[ChatMessage] = Field(min_length=1, max_length=500)
    model: str | None = Field(default=None, max_length=200)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=2048)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2048)
    temperature: Finite | None = Field(default=None, ge=0, le=2)
    top_p: Finite | None = Field(default=None, gt=0, le=1)
    seed: Annotated[int, Field(ge=-(1 << 63), le=MAX_SEED)] | None = None
    stop: str | list[str] | None = None
    n: int | None = Field(default=None, ge=1, le=4)
    response_format: ResponseFormat | None = None
    modalities: list[Literal["text", "audio"]] | None = Field(default=None, max_length=2)
    audio: AudioOut | None = None
    seconds: Finite | None = Field(default=None, ge=1, description="of music in the answer")
