"""The tokenizer of a text encoder that is trained from nothing: pieces of the captions' words."""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

SPECIALS = ("<pad>", "</s>", "<unk>")


def new_tokenizer(texts: Iterator[str], vocabulary: int) -> Tokenizer:
    """Byte-pair encoding (Sennrich et al. 2016) of words in lower case, an end token after each
    text.

    Digits stand alone, so that every number is known.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIALS[2]))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = TemplateProcessing(
        single=f"$A {SPECIALS[1]}", special_tokens=[(SPECIALS[1], 1)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        limit_alphabet=vocabulary // 2,  # of rare scripts the commonest signs
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789#.,:;-'&/"),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
