"""Claims: what a text states about a recording, found by a grammar and held against what was
measured.

    checked = check_text("full", "A waltz at 97 BPM.", facts, "correct")
    checked.text, checked.claims
"""

from antiphon.description import POLICIES, Policy
from antiphon.listen.claims.grammar import find_claims
from antiphon.listen.claims.judging import Checked, check_text, judge

__all__ = ["POLICIES", "Checked", "Policy", "check_text", "find_claims", "judge"]
