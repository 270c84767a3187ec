"""Words in, music out."""
