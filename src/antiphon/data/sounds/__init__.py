"""Sounds that are not music, each made from nothing but a generator of random numbers.

Every maker is `(frames, rate, draws) -> [T]`, float32 of any level; `data.not_music` brings them to
one. Knows no file, no manifest and no score.
"""
