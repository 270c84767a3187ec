"""From a folder of music to what a model learns from: manifests, codes, synthesized pieces.

Knows both halves; neither of them knows it.
"""
