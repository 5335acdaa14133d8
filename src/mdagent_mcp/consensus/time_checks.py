"""The checks of when the served price was true: its time stamp, its session, and whether it moves at all.

The rule of this module: see `validation`; these are its checks that bear on time.
"""

from __future__ import annotations

from typing import Final

from mdagent_mcp.consensus.alignment import Standing
from mdagent_mcp.consensus.facts import QuoteFacts
from mdagent_mcp.consensus.quote_checks import SOFT_CAP
from mdagent_mcp.consensus.rules import failed, not_run, passed
from mdagent_mcp.consensus.stamps import CONSTANT_STAMP, ZONE_SHIFT, frozen_s, frozen_text
from mdagent_mcp.consensus.wording import clock_error_text, duration_text, utc_second
from mdagent_mcp.domain.prices import Session
from mdagent_mcp.domain.quality import Finding, Severity

TAG_CAP: Final = 79.0
HALT_CAP: Final = 89.0
UNDATED_CAP: Final = 66.0


def event_time_present(facts: QuoteFacts) -> Finding:
    """The served price has a time."""
    if facts.served.event_time is None:
        detail = f"{facts.served.quote.source}: {facts.served.reason}"
        return failed("event_time_present", detail, Severity.MAJOR)
    return passed("event_time_present", f"{facts.served.quote.source} states {utc_second(facts.served.event_time)}")


def event_time_not_future(facts: QuoteFacts) -> Finding:
    """No source is ahead of our clock."""
    if facts.served.quote.event_time is None:
        return not_run("event_time_not_future", "no event time")
    if facts.served.cause.startswith("future"):
        return failed("event_time_not_future", f"{facts.served.quote.source}: {facts.served.reason}", Severity.MAJOR)
    return passed("event_time_not_future", f"not after {utc_second(facts.context.now)}")


def machine_clock(facts: QuoteFacts) -> Finding:
    """Our own clock, by which every age is measured, is right as far as the vendors' servers say."""
    error_s = facts.context.clock_error_s
    if error_s is None:
        return not_run("machine_clock", "no server has said what time it is")
    if error_s:
        detail = f"{clock_error_text(error_s)}, so no age can be told: set the clock"
        return failed("machine_clock", detail, Severity.MAJOR, UNDATED_CAP)
    return passed("machine_clock", "the vendors' servers have the same time")


def session_current(facts: QuoteFacts) -> Finding:
    """The price is not from before the session it should be from."""
    if not facts.market.known:
        return not_run("session_current", f"no calendar for {facts.market.calendar.name}")
    if facts.served.event_time is None:
        return not_run("session_current", "no event time")
    stamp = facts.event_minute
    if facts.served.standing is Standing.EARLIER:
        detail = f"the price of {stamp} is from before the session to answer; market {facts.market.state}"
        return failed("session_current", detail, Severity.FATAL)
    return passed("session_current", f"price of {stamp}, market {facts.market.state}")


def declared_delay(facts: QuoteFacts) -> Finding:
    """A declared delay and the stamp do not contradict each other."""
    declared = facts.served.quote.declared_delay_s
    age = facts.served.quote.age_s(facts.context.now)
    if declared <= 0 or age is None:
        return not_run("declared_delay", f"{facts.served.quote.source} declares no delay")
    detail = f"declares {duration_text(declared)}, stamped {duration_text(max(0.0, age))} ago"
    if facts.market.regular_hours and age + facts.lines.future_tolerance_s < declared:
        return failed("declared_delay", f"{facts.served.quote.source} {detail}", Severity.MINOR)
    return passed("declared_delay", detail)


def session_tag(facts: QuoteFacts) -> Finding:
    """The session the source names is the one its event time falls in."""
    served = facts.served
    if served.event_time is None or not facts.market.known or facts.market.continuous:
        return not_run("session_tag", "needs an event time and a market with sessions")
    tag = served.quote.session
    if tag is served.session or {tag, served.session} == {Session.REGULAR, Session.CLOSED}:
        return passed("session_tag", f"{tag} fits {facts.event_minute}")
    detail = f"{served.quote.source} calls it {tag}, its time falls in {served.session}"
    return failed("session_tag", detail, Severity.MINOR, TAG_CAP)


def session_answered(facts: QuoteFacts) -> Finding:
    """The price belongs to the session that is asked about."""
    if facts.served.standing is Standing.EARLIER:
        return not_run("session_answered", "the price is from before that session: see session_current")
    if facts.served.session is facts.wanted:
        return passed("session_answered", f"{facts.wanted}, as the market's state asks for")
    detail = f"only a {facts.served.session} price was available, not a {facts.wanted} one"
    return failed("session_answered", detail, Severity.MAJOR, SOFT_CAP)


def stamp_advances(facts: QuoteFacts) -> Finding:
    """The source's event time moves on when its price does, and never back."""
    served = facts.served
    learned = facts.context.learned
    trace = None if learned is None else learned.traces.get(served.quote.source)
    stamp = served.quote.event_time
    if trace is None or trace.stamp is None or stamp is None:
        return not_run("stamp_advances", f"nothing is known of {served.quote.source}'s last word")
    if served.cause.startswith(CONSTANT_STAMP):
        return failed("stamp_advances", f"{served.quote.source}: {served.reason}", Severity.MAJOR, UNDATED_CAP)
    back = (trace.stamp - stamp).total_seconds()
    if back > max(1.0, served.quote.event_time_resolution_s):
        detail = f"{served.quote.source} went back by {duration_text(back)}: another of its nodes answered"
        return failed("stamp_advances", detail, Severity.INFO)
    return passed("stamp_advances", f"not before the {utc_second(trace.stamp)} that was stated last")


def stamp_zone(facts: QuoteFacts) -> Finding:
    """The event time is not late by whole hours."""
    served = facts.served
    if served.quote.event_time is None or not facts.market.regular_hours:
        return not_run("stamp_zone", "needs an event time and an open market")
    if served.cause.startswith(ZONE_SHIFT):
        return failed("stamp_zone", f"{served.quote.source}: {served.reason}", Severity.MAJOR, UNDATED_CAP)
    return passed("stamp_zone", "no whole hours behind")


def price_moves(facts: QuoteFacts) -> Finding:
    """The price does not stand still under moving time stamps for longer than is usual."""
    served = facts.served
    learned = facts.context.learned
    source = served.quote.source
    if learned is None or (source not in learned.traces and source not in learned.unchanged_s):
        return not_run("price_moves", f"nothing is known of {served.quote.source}'s last word")
    if not facts.market.regular_hours:
        return not_run("price_moves", "nothing has to move while the market is closed")
    standing = frozen_s(served.quote, facts.market.now, learned)
    if standing > 0:
        return failed("price_moves", f"{served.quote.source}: {frozen_text(standing)}", Severity.MAJOR)
    return passed("price_moves", f"{served.quote.source} moves as usual")


def trading(facts: QuoteFacts) -> Finding:
    """Trading goes on while the market is open."""
    if not facts.market.known or not facts.market.regular_hours:
        return not_run("trading", "the market is not in regular trading")
    if facts.halted_since is None:
        return passed("trading", "no source shows a halt")
    stamp = utc_second(facts.halted_since)
    detail = f"no independent source shows a trade since {stamp}: halted, or nothing traded"
    return failed("trading", detail, Severity.MINOR, HALT_CAP)
