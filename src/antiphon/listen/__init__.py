"""The listening half: sound to words."""
