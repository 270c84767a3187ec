"""The tokenizer of a text encoder that is trained from nothing: pieces of the captions' words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

SPECIALS = ("<pad>", "</s>", "<unk>")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789#.,:;-'&/\N{LOWER ONE EIGHTH BLOCK}"


def new_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
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
    texts = list(texts)
    counts = Counter(
        letter for text in texts for letter in tokenizer.normalizer.normalize_str(text)
    )
    counts.pop(" ", None)
    # Chosen here: of signs that are equally common the trainer takes another choice each time.
    common = sorted(counts, key=lambda letter: (-counts[letter], letter))
    usual = [letter for letter in common if letter not in _LETTERS]
    alphabet = [*_LETTERS, *usual[: max(0, vocabulary // 2 - len(_LETTERS))]]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
