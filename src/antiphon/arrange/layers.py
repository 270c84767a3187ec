"""Layers: who plays in which section, so that sections can be told apart by ear."""

from __future__ import annotations

from antiphon.arrange.band import Player
from antiphon.arrange.parts import Part
from antiphon.arrange.styles import Role

# The chance that a role plays in a section of that name.
_CHANCES: dict[Role, dict[str, float]] = {
    "drums": {"intro": 0.6, "verse": 1, "chorus": 1, "bridge": 0.75, "solo": 1, "ending": 1},
    "bass": {"intro": 0.6, "verse": 1, "chorus": 1, "bridge": 1, "solo": 1, "ending": 1},
    "chords": {"intro": 0.9, "verse": 1, "chorus": 1, "bridge": 1, "solo": 1, "ending": 1},
    "pad": {"intro": 0.5, "verse": 0.25, "chorus": 1, "bridge": 0.85, "solo": 0.4, "ending": 0.9},
    "riff": {"intro": 0.6, "verse": 0.4, "chorus": 0.8, "bridge": 0.3, "solo": 0.2, "ending": 0.4},
    "melody": {"intro": 0.15, "verse": 1, "chorus": 1, "bridge": 0.9, "solo": 1, "ending": 1},
    "counter": {"intro": 0, "verse": 0.1, "chorus": 0.9, "bridge": 0.5, "solo": 0, "ending": 0.8},
}  # fmt: skip
_HARMONY: tuple[Role, ...] = ("chords", "pad", "riff", "counter", "melody")
# An instrument asked for plays in most sections, not in some.
_WANTED_BONUS = 0.4


def choose_layers(parts: tuple[Part, ...], players: tuple[Player, ...]) -> list[list[Player]]:
    """The players of each part. Of the harmony somebody always plays, and everybody asked for is
    heard at least once."""
    anchor = next((p for role in _HARMONY for p in players if p.role == role), None)
    layers = [
        [player for player in players if player is anchor or _plays(part, player)] for part in parts
    ]
    for player in players:
        if player.wanted and not any(player in layer for layer in layers):
            likeliest = max(parts, key=lambda part: _CHANCES[player.role][part.label])
            layers[parts.index(likeliest)].append(player)
    return layers


def _plays(part: Part, player: Player) -> bool:
    chance = _CHANCES[player.role][part.label] + _WANTED_BONUS * player.wanted
    # A full band grows with the intensity, also from one verse to the next.
    if 0 < chance < 1:
        chance += 0.5 * (part.intensity - 0.5) + 0.15 * part.repeat
    return part.stream("layer", player.role, player.instrument).random() < chance
