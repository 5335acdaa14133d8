"""The learning curve as SVG: regret per session of every arm, and regret after the sources swapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from learning_report import WINDOW, Figures

COLOURS: Final = {"persist": "#1b7837", "cold": "#b35806", "shuffled": "#7b7b7b"}
NAMES: Final = {"persist": "memory kept", "cold": "no memory", "shuffled": "memory of the wrong sources"}
HEADROOM: Final = 1.35
"""So that the legend stands above the curves."""
WIDTH, HEIGHT = 430, 300
_LEFT, _TOP, _BOTTOM, _RIGHT = 58, 34, 46, 14


def plot(figures: Figures) -> str:
    """The picture."""
    panels = [
        _panel(figures.by_session, "Regret per question, session by session", "session", first=1),
        _panel(
            figures.after_swap,
            "After the best sources became the worst",
            f"question after the swap (mean of {WINDOW})",
            first=WINDOW,
        ),
    ]
    body = "".join(f'<g transform="translate({n * WIDTH},0)">{panel}</g>' for n, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" width="{2 * WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _panel(curves: Mapping[str, Sequence[float]], title: str, below: str, first: int) -> str:
    if not curves:
        return ""
    length = max(len(curve) for curve in curves.values())
    top = max(0.001, HEADROOM * max(max(curve) for curve in curves.values()))
    low = min(0.0, 1.1 * min(min(curve) for curve in curves.values()))

    def x(n: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * n / max(1, length - 1)

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (top - value) / (top - low)

    parts = [f'<text x="{_LEFT}" y="20" font-size="13" font-weight="bold">{title}</text>']
    for step in range(5):
        value = low + (top - low) * step / 4
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#dddddd"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3f}</text>'
        )
    ticks = sorted({0, length // 4, length // 2, 3 * length // 4, length - 1})
    parts += [f'<text x="{x(n):.1f}" y="{HEIGHT - 28}" text-anchor="middle">{n + first}</text>' for n in ticks]
    parts.append(f'<text x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{below}</text>')
    parts.append(
        f'<rect x="{WIDTH - 196}" y="{_TOP - 2}" width="182" height="{15 * len(curves) + 6}" fill="#ffffff" '
        'opacity="0.8"/>'
    )
    for place, (arm, curve) in enumerate(curves.items()):
        points = " ".join(f"{x(n):.1f},{y(value):.1f}" for n, value in enumerate(curve))
        row = _TOP + 8 + 15 * place
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[arm]}" stroke-width="2"/>'
            f'<line x1="{WIDTH - 190}" x2="{WIDTH - 170}" y1="{row}" y2="{row}" stroke="{COLOURS[arm]}" '
            f'stroke-width="2"/><text x="{WIDTH - 164}" y="{row + 4}">{NAMES[arm]}</text>'
        )
    return "".join(parts)
