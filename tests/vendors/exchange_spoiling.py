"""Spoilt copies of a reply: seeded, so that a copy can be made again from the name of its exchange and its number.

The copies are what networks, proxies, careless vendors and attackers make of a good reply: cut, re-encoded, with
values of other kinds and sizes, with times in another unit, about another instrument, or another page altogether.
"""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

STRANGER: Final = "ZQXJ"
"""A symbol that no exchange of ours is about."""

_ROWS_KEPT: Final = 24
_RAW_TOKENS: Final = ("1e400", "-1e400", "-0", "-0.0", "1E-400", "NaN", "Infinity", "-Infinity", "9" * 5000, "[" * 3000)
_SCRAPS: Final[tuple[Any, ...]] = (
    *(None, True, False, "", " ", "0", "-1", "N/A", "NaN", "Infinity", "1e400", "9" * 400, "-5.5", "٣", "\ud800"),
    *("a\nb\x00c\x1b[31m", "x" * 20000, "<b>1</b>", "2026-02-30", "9999-12-31T23:59:59-23:00", "0001-01-01"),
    *(0, -1, -0.0, 1e-320, 1e308, -1e308, 10**400, 2**63, 4102444801, -2208988801, 1, 0.5),
    *([], {}, [None], [[]], {"": None}, {"value": []}, {"error": {"code": []}}),
    *(f"@@{token}@@" for token in _RAW_TOKENS),
)
_TOKEN: Final = re.compile(r'"@@(.+?)@@"')
_PAIR: Final = re.compile(r'("[^"\\]{1,60}")(\s*:\s*)(-?\d[^,}\]\s]*|"[^"\\]*"|null|true|false)')
_NUMBER: Final = re.compile(r"[-+]?\$?\d[\d,]*(?:\.\d+)?%?")

Change = Callable[[Any, Random], str]
"""Changes a JSON value in place and says what it did."""


def dumped(value: Any) -> bytes:
    """JSON as bytes, with the tokens that no JSON writer would write."""
    text = json.dumps(value)
    return _TOKEN.sub(lambda found: found[1], text).encode("utf-8", "surrogatepass")


def shortened(value: Any) -> Any:
    """A copy whose long arrays are cut alike, so that spoiling and reading it takes no time."""
    if isinstance(value, list):
        return [shortened(element) for element in (*value[: _ROWS_KEPT // 2], *value[-_ROWS_KEPT // 2 :])][:_ROWS_KEPT]
    if isinstance(value, dict):
        kept = list(value.items())
        rows = kept if len(kept) < 200 else [*kept[: _ROWS_KEPT // 2], *kept[-_ROWS_KEPT // 2 :]]
        return {key: shortened(member) for key, member in rows}
    return value


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) inside a JSON value."""
    found: list[tuple[Any, Any]] = []
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found.append((value, key))
        found += places(member)
    return found


def _place(value: Any, rng: Random, kinds: tuple[type, ...] = (object,)) -> tuple[Any, Any] | None:
    fitting = [(holder, key) for holder, key in places(value) if isinstance(holder[key], kinds)]
    return rng.choice(fitting) if fitting else None


def _replace(value: Any, rng: Random) -> str:
    found = _place(value, rng)
    if found is None:
        return "nothing"
    holder, key = found
    holder[key] = copy.deepcopy(rng.choice(_SCRAPS))
    return f"{key!r} becomes {str(holder[key])[:40]!r}"


def _drop(value: Any, rng: Random) -> str:
    found = _place(value, rng)
    if found is None:
        return "nothing"
    holder, key = found
    del holder[key]
    return f"{key!r} is dropped"


def _swap_type(value: Any, rng: Random) -> str:
    found = _place(value, rng)
    if found is None:
        return "nothing"
    holder, key = found
    old = holder[key]
    if isinstance(old, dict):
        holder[key] = list(old.values())
    elif isinstance(old, list):
        holder[key] = {str(n): element for n, element in enumerate(old)}
    elif isinstance(old, str):
        holder[key] = float(old) if re.fullmatch(r"-?\d{1,15}(\.\d+)?", old) else [old]
    else:
        holder[key] = json.dumps(old)
    return f"{key!r} changes its type"


def _exchange_values(value: Any, rng: Random) -> str:
    one, other = _place(value, rng, (int, float, str)), _place(value, rng, (int, float, str))
    if one is None or other is None:
        return "nothing"
    (a, x), (b, y) = one, other
    a[x], b[y] = b[y], a[x]
    return f"{x!r} and {y!r} are exchanged"


def _spoil_array(value: Any, rng: Random) -> str:
    found = _place(value, rng, (list,))
    if found is None:
        return "nothing"
    holder, key = found
    array, how = holder[key], rng.randrange(6)
    position = rng.randrange(len(array) + 1)
    if how == 0:
        del array[position:]
    elif how == 1:
        array.insert(position, None)
    elif how == 2 and array:
        array.insert(position, copy.deepcopy(rng.choice(array)))
    elif how == 3:
        array.reverse()
    elif how == 4:
        rng.shuffle(array)
    else:
        holder[key] = array * 3
    return f"the array {key!r} is spoilt ({how})"


def _scale_times(value: Any, rng: Random) -> str:
    factor = rng.choice((1000, 1_000_000, 1_000_000_000, 0.001, 1e-6, 60, -1))
    for holder, key in places(value):
        number = holder[key]
        if isinstance(number, int | float) and not isinstance(number, bool) and 1e8 < abs(number) < 2**66:
            holder[key] = int(number * factor)
    return f"epochs are multiplied by {factor}"


def _scale_numbers(value: Any, rng: Random) -> str:
    factor = rng.choice((-1, 0, -0.0, 1e300, 1e-300, 1e308))
    for holder, key in places(value):
        number = holder[key]
        if isinstance(number, int | float) and not isinstance(number, bool):
            large = isinstance(number, int) and abs(number) > 2**1000
            holder[key] = "@@1e400@@" if large else number * factor
        elif isinstance(number, str) and _NUMBER.fullmatch(number):
            holder[key] = f"-{number.lstrip('+-')}" if factor == -1 else f"{number}e300" if factor > 1 else "0.00"
    return f"numbers are multiplied by {factor}"


def _nest(value: Any, rng: Random) -> str:
    found = _place(value, rng)
    if found is None:
        return "nothing"
    holder, key = found
    for _ in range(rng.choice((1, 5, 60))):
        holder[key] = rng.choice(([holder[key]], {"data": holder[key]}))
    return f"{key!r} lies deeper"


def _all_null(value: Any, rng: Random) -> str:
    key = rng.choice([k for _, k in places(value) if isinstance(k, str)] or [""])
    for holder, k in places(value):
        if k == key and isinstance(holder, dict):
            holder[k] = None
    return f"every {key!r} is null"


_CHANGES: Final[tuple[Change, ...]] = (
    *(_replace, _replace, _replace, _drop, _drop, _swap_type, _exchange_values),
    *(_spoil_array, _scale_times, _scale_numbers, _nest, _all_null),
)


def renamed(value: Any, names: frozenset[str]) -> Any:
    """A copy in which every text or key that is one of `names` is the stranger's."""
    if isinstance(value, dict):
        return {STRANGER if k.upper() in names else k: renamed(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [renamed(element, names) for element in value]
    if not isinstance(value, str):
        return value
    name, bar, rest = value.partition("|")
    return f"{STRANGER}{bar}{rest}" if name.upper() in names else value


def _duplicate_key(text: str, rng: Random) -> tuple[str, str]:
    found = rng.choice(list(_PAIR.finditer(text)) or [None])
    if found is None:
        return text, "nothing"
    scrap = dumped(rng.choice(_SCRAPS)).decode("utf-8", "replace")
    twice = f"{found[0]},{found[1]}:{scrap}" if rng.random() < 0.5 else f"{found[1]}:{scrap},{found[0]}"
    return text[: found.start()] + twice + text[found.end() :], f"{found[1]} stands twice"


def _spoil_bytes(body: bytes, rng: Random) -> tuple[bytes, str]:
    at = rng.randrange(len(body) + 1)
    text = body.decode("utf-8", "replace")
    spoilt: tuple[tuple[bytes, str], ...] = (
        (body[:at], f"cut at byte {at}"),
        (body[at:], f"begins at byte {at}"),
        (body[:at] + rng.randbytes(rng.randrange(1, 9)) + body[at:], f"noise at byte {at}"),
        (body[:at] + body[at + rng.randrange(1, 40) :], f"a hole at byte {at}"),
        (b"\xef\xbb\xbf" + body, "a byte order mark"),
        (text.encode("utf-16"), "UTF-16"),
        (text.encode("utf-16-le", "replace"), "UTF-16 without mark"),
        (text.encode("utf-32"), "UTF-32"),
        (text.encode("cp037", "replace"), "EBCDIC"),
        (gzip.compress(body, mtime=0), "gzip"),
        (body + body, "twice"),
        (b")]}',\n" + body, "a guard before it"),
        (b"callback(" + body + b");", "a call around it"),
        (body.replace(b'"', b"'"), "single quotes"),
        (body.replace(b":", b"", 1), "a colon less"),
        (body + b"\x00" * 9, "zero bytes after it"),
        (json.dumps(text).encode(), "as a string"),
        (b"[" + body + b"]", "in an array"),
        (b'{"data":' + body + b"}", "in an object"),
    )
    return rng.choice(spoilt)


_PAGES: Final = tuple(
    (page, f"another page: {page[:30]!r}")
    for page in (
        *(
            b"",
            b" \r\n",
            b"null",
            b"[]",
            b"{}",
            b'""',
            b"0",
            b"-1",
            b"true",
            b"NaN",
            b"[null]",
            b"[{}]",
            b"[[]]",
            b"\xff",
        ),
        b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>1.5</body></html>",
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>',
        *(b"upstream connect error", b"error code: 1015", b"Too Many Requests", b"404 page not found"),
        *(b"[" * 100_000, b'{"a":' * 50_000, b"9" * 10_000, b'"' + b"x" * 300_000 + b'"'),
        *(b"date,open,high,low,close\n", b"a,b\n1\n", b"price\n-5\n", b"timestamp,open\n2026-01-02,1\n", b"\n\n\n"),
    )
)


def _spoil_table(body: bytes, rng: Random) -> tuple[bytes, str]:
    """A copy of a CSV with one cell, row or column changed."""
    rows = list(csv.reader(io.StringIO(body.decode("utf-8", "replace"))))[: _ROWS_KEPT + 1]
    n = rng.randrange(len(rows))
    row, how = rows[n], rng.randrange(5)
    if how == 0 and row:
        row[rng.randrange(len(row))] = str(rng.choice(_SCRAPS))[:200].encode("utf-8", "replace").decode()
        said = f"a cell of row {n} is replaced"
    elif how == 1 and row:
        del row[rng.randrange(len(row))]
        said = f"a cell of row {n} is dropped"
    elif how == 2:
        rows.insert(n, list(rng.choice(rows)))
        said = f"a row more at {n}"
    elif how == 3:
        column = rng.randrange(len(rows[0]) or 1)
        rows = [[c for i, c in enumerate(r) if i != column] for r in rows]
        said = f"column {column} is dropped"
    else:
        rows = [[re.sub(r"^\d", "-0", c) for c in r] for r in rows]
        said = "every number is negative"
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8", "replace"), said


def spoilt(body: bytes, rng: Random, other: bytes) -> tuple[bytes, str]:
    """A spoilt copy of a body, and what was done to it.

    Args:
        body: a good one.
        rng: decides everything.
        other: a body of another vendor.
    """
    draw = rng.random()
    if draw < 0.04:
        return rng.choice(_PAGES)
    if draw < 0.07:
        return other, "another vendor's reply"
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if draw < 0.2 or (value is None and (draw < 0.5 or b"," not in body)):
        return _spoil_bytes(body, rng)
    if value is None:
        return _spoil_table(body, rng)
    if draw < 0.27:
        text, said = _duplicate_key(dumped(value).decode("utf-8", "replace"), rng)
        return text.encode("utf-8", "replace"), said
    if not isinstance(value, dict | list):
        value = [value]
    changed = [rng.choice(_CHANGES)(value, rng) for _ in range(rng.choice((1, 1, 1, 2, 4)))]
    return dumped(value), "; ".join(changed)


def leaves(value: Any) -> Iterator[Any]:
    """Every scalar of a JSON value, and every key."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield key
            yield from leaves(member)
    elif isinstance(value, list):
        for element in value:
            yield from leaves(element)
    else:
        yield value
