"""Controls and a seed -> Score, by musical rules; the styles are data in `styles/`."""

from antiphon.arrange.arranger import arrange

__all__ = ["arrange"]
