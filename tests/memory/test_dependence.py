"""Copies are seen by the mistakes they share, never by agreement."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdagent_mcp.domain.answers import QuoteAnswer, VoiceVerdict
from mdagent_mcp.domain.events import Compared
from mdagent_mcp.memory.dependence import (
    SYMBOLS_KEPT,
    Dependence,
    Pair,
    SharedErrors,
    combine_dependences,
    joined_groups,
    proven,
)
from memory.memory_samples import NOON
from memory.voice_samples import Said, answered

ALPHA_BETA = Pair("alpha", "beta")
OUT = VoiceVerdict.OUTLIER
WHY = "unexplained: 300 bp above the served price"


def heard(
    alpha: Said, beta: Said, *, after_s: float = 0.0, corroboration: float = 95.0, cached: bool = False
) -> QuoteAnswer:
    """An answer confirmed by two others, in which alpha and beta spoke as well."""
    said = {"alpha": alpha, "beta": beta, "gamma": Said(100.0, VoiceVerdict.SERVED), "delta": Said(100.0)}
    at = NOON + timedelta(seconds=after_s)
    return answered(said, at=at, corroboration=corroboration, cached=cached)


def learned(answers: Iterable[QuoteAnswer]) -> dict[Pair, Dependence]:
    """What these answers teach, one after the other."""
    book, found = SharedErrors(), dict[Pair, Dependence]()
    for answer in answers:
        for pair, new in book.learn_answer(answer):
            found[pair] = combine_dependences(found[pair], new) if pair in found else new
    return found


def test_agreement_proves_nothing() -> None:
    """Everybody shows the same market."""
    assert learned(heard(Said(100.0), Said(100.0), after_s=n) for n in range(50)) == {}


def test_the_same_wrong_price_again_and_again_is_one_voice() -> None:
    """Ten different errors, each shared, none alone."""
    wrong = [103.0 + n for n in range(12)]
    found = learned(heard(Said(p, OUT, WHY), Said(p, OUT, WHY), after_s=n) for n, p in enumerate(wrong))
    assert found[ALPHA_BETA].shared == pytest.approx(12.0, abs=0.1)
    assert found[ALPHA_BETA].is_proven
    assert proven(found) == (ALPHA_BETA,)
    # The two that were right made none of these errors.
    assert found[Pair("alpha", "gamma")].shared == 0.0
    assert found[Pair("alpha", "gamma")].apart == pytest.approx(12.0, abs=0.1)


def test_errors_of_their_own_keep_two_sources_apart() -> None:
    """Half of what each gets wrong is its own."""
    answers = []
    for n in range(20):
        shared = n % 4 == 0
        answers.append(
            heard(Said(103.0 + n, OUT, WHY), Said(103.0 + n, OUT, WHY) if shared else Said(100.0), after_s=n)
        )
    assert not learned(answers)[ALPHA_BETA].is_proven


def test_a_wrong_price_that_stands_still_counts_once() -> None:
    """However often it is asked for."""
    found = learned(heard(Said(103.0, OUT, WHY), Said(103.0, OUT, WHY), after_s=n) for n in range(50))
    assert found[ALPHA_BETA].shared == 1.0


def test_who_says_it_later_is_the_one_that_copies() -> None:
    """Beta repeats after a minute what alpha got wrong, when alpha has long been right again."""
    answers = []
    for n in range(15):
        price, at = 103.0 + n, n * 120.0
        answers += [
            heard(Said(price, OUT, WHY), Said(100.0), after_s=at),
            heard(Said(100.0), Said(price, OUT, WHY), after_s=at + 60),
        ]
    known = learned(answers)[ALPHA_BETA]
    assert known.lag_s == pytest.approx(60.0)
    assert known.shared == pytest.approx(15.0, abs=0.2)


@pytest.mark.parametrize("given_", [{"corroboration": 60.0}, {"cached": True}])
def test_nothing_is_learned_where_nobody_knows_who_is_wrong(given_: dict[str, float]) -> None:
    """Without two that confirm each other the outlier may be the one that is right."""
    answer = heard(Said(103.0, OUT, WHY), Said(103.0, OUT, WHY), **given_)  # type: ignore[arg-type]
    assert learned([answer]) == {}


@pytest.mark.parametrize(
    ("verdict", "cause"),
    [
        (OUT, "unit: 100x the served price, pence or cents"),
        (OUT, "other_session: 100.00 is the close of another session"),
        (OUT, "split: looks like a price from before a 2:1 split"),
        (OUT, "stale by 3 min"),
        (OUT, "wrong_instrument: its previous close 50.00 is not 100.00"),
        (VoiceVerdict.DIFFERS, "differs by 8 bp, too much to confirm and too little to contradict"),
        (VoiceVerdict.DELAYED, "delayed by 20 s"),
    ],
)
def test_what_sources_have_in_common_by_convention_is_no_shared_error(verdict: VoiceVerdict, cause: str) -> None:
    """Pence in London, the close of yesterday, a tape that is a minute late: each has it from the market itself."""
    wrong = [103.0 + n for n in range(20)]
    assert (
        learned(heard(Said(p, verdict, cause), Said(p, verdict, cause), after_s=n) for n, p in enumerate(wrong)) == {}
    )


def compared(
    source: str, error: float, *, second: int = 0, age_s: float | None = 1.0, symbol: str = "AAPL", which: str = "price"
) -> Compared:
    """A claim that an authority told the truth about."""
    at = NOON + timedelta(seconds=second)
    return Compared(source, symbol, which, at, error, 5e-4, 50e-4, 1e-8, age_s)


def test_an_authority_sees_the_copies_that_outvote_the_truth() -> None:
    """Two that are wrong together win against one that is right; the delayed tape tells later."""
    book, found = SharedErrors(), dict[Pair, Dependence]()
    for n in range(12):
        for source, error in (("alpha", 0.02 + n / 1000), ("beta", 0.02 + n / 1000), ("gamma", 0.0)):
            for pair, new in book.learn_compared(compared(source, error, second=n, symbol=f"S{n}")):
                found[pair] = combine_dependences(found[pair], new) if pair in found else new
    assert proven(found) == (ALPHA_BETA,)
    assert found[Pair("alpha", "gamma")].shared == 0.0


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (0.0, 0.0, None),
        (4e-4, -4e-4, None),
        (0.02, 0.02, True),
        (0.02, 0.0, False),
        (0.02, -0.02, False),
        (0.02, 0.0201, None),
        (0.004, 0.004, None),
        (0.69, 0.69, None),
    ],
)
def test_two_errors_against_one_truth(first: float, second: float, told: bool | None) -> None:
    """Both right: nothing; the same error: shared; another one: apart; about the same: it cannot be told."""
    book = SharedErrors()
    assert list(book.learn_compared(compared("alpha", first))) == []
    found = [known for _, known in book.learn_compared(compared("beta", second))]
    assert [(known.shared, known.apart) for known in found] == ([] if told is None else [(told, not told)])


@pytest.mark.parametrize(
    "given_", [{"age_s": None}, {"age_s": 3600.0}, {"which": "volume"}, {"which": "previous_close"}]
)
def test_errors_that_age_or_convention_explains_are_not_compared(given_: dict[str, Any]) -> None:
    """Two that show the same old trade are both right; two official closes may both differ from the last trade."""
    book = SharedErrors()
    assert list(book.learn_compared(compared("alpha", 0.02, **given_))) == []
    assert list(book.learn_compared(compared("beta", 0.02, **given_))) == []


def test_a_wrong_price_that_an_authority_meets_again_counts_once_in_a_while() -> None:
    """Not with every event of the authority."""
    book, counted = SharedErrors(), 0
    for n in range(100):
        for source in ("alpha", "beta"):
            counted += len(list(book.learn_compared(compared(source, 0.02, second=10 * n))))
    assert counted == 2


def test_errors_told_at_different_instants_are_not_compared() -> None:
    """They are against different truths."""
    book = SharedErrors()
    list(book.learn_compared(compared("alpha", 0.02)))
    assert list(book.learn_compared(compared("beta", 0.02, second=1))) == []


def test_what_is_kept_in_ram_is_bounded() -> None:
    """By the number of instruments."""
    book = SharedErrors()
    for n in range(SYMBOLS_KEPT + 20):
        list(book.learn_answer(answered({"alpha": Said(103.0, OUT, WHY), "beta": Said(100.0)}, f"S{n}")))
    assert len(book.wrong) == SYMBOLS_KEPT


def test_a_pair_that_stops_copying_is_let_go() -> None:
    """By errors of their own."""
    copied = Dependence(40.0, 0.0, 0.0, 0.0)
    alone = [Dependence(0.0, 1.0, 0.0, float(n)) for n in range(60)]
    assert copied.is_proven
    assert not reduce(combine_dependences, alone, copied).is_proven


_SOURCES = ("a", "b", "c", "d", "e", "f")
_GROUPS = st.fixed_dictionaries({source: st.sampled_from(("g1", "g2", "g3", "g4")) for source in _SOURCES})
_PAIRS = st.lists(st.tuples(st.sampled_from(_SOURCES), st.sampled_from(_SOURCES)).map(lambda p: Pair(*sorted(p))))


@given(_GROUPS, _PAIRS)
def test_copies_end_up_in_one_group_and_no_group_is_ever_split(groups: dict[str, str], pairs: list[Pair]) -> None:
    """Whatever is joined, nobody becomes more independent than declared."""
    joined = joined_groups(groups, pairs)
    assert joined.keys() == groups.keys()
    assert all(joined[first] == joined[second] for first, second in pairs)
    assert all(joined[a] == joined[b] for a in groups for b in groups if groups[a] == groups[b])
    assert set(joined.values()) <= set(groups.values())
    assert joined_groups(groups, []) == groups


def test_a_pair_with_a_stranger_changes_nothing() -> None:
    """A source that is not configured any more."""
    assert joined_groups({"a": "g1", "b": "g2"}, [Pair("a", "z")]) == {"a": "g1", "b": "g2"}


@given(st.floats(0, 500), st.floats(0, 500), st.floats(0, 500), st.floats(0, 500))
def test_joining_never_makes_more_of_what_was_seen(a: float, b: float, c: float, d: float) -> None:
    """Older errors count less, newer ones whole."""
    joined = combine_dependences(Dependence(a, b, 0.0, 1.0), Dependence(c, d, 0.0, 2.0))
    assert c <= joined.shared <= a + c + 1e-9
    assert d <= joined.apart <= b + d + 1e-9
    assert math.isfinite(joined.lower_bound)
    assert joined.lower_bound <= joined.share + 0.2
