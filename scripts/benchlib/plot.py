"""The SVG: small bar charts, a row for each corpus, a column for each quantity.

Each chart has its own scale from zero, its title names quantity and unit, each bar its value. It
shows on light and dark ground.
"""
from xml.sax.saxutils import escape

from .corpora import TITLES
from .figures import figure

COLUMNS = (("first", "first ingest, s", "floor_tar"), ("nochange_warm", "no change, warm, s", None),
           ("changed", "changed step, s", None), ("size", "repository, MB", None))
READS = (("find", "find, s", None), ("tar", "tar, s", None), ("cp", "cp -a, s", None), ("restore", "restore, s", None))
LIFE = (("life_prune", "prune, s", None), ("life_verify", "verify, s", None), ("restore", "restore, s", None), ("life_size", "repository, MB", None))
COLOURS = {"icecore": "#1f77b4", "restic": "#8c8c8c", "rustic": "#a8743a", "borg": "#5f9e6e"}
NAME, BARS, VALUE, GAP = 74, 120, 52, 18  # widths in pixels: name, longest bar, value, gap
ROW, HEAD, TOP = 17, 38, 62  # heights: bar, chart's title, page's title
STYLE = """<style>text{font:12px sans-serif;fill:#222}.t{font-weight:bold}.h{font-size:15px;font-weight:bold}
.v{fill:#222}.a{font-size:10px;fill:#555}line{stroke:#999}.f{stroke:#d62728;stroke-dasharray:3 2}
@media(prefers-color-scheme:dark){text,.v{fill:#eee}.a{fill:#bbb}.g{fill:#161b22}}</style>"""


def number(value):
    """Three digits that count."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = sum(abs(value) < limit for limit in (100, 10, 0.1))
    return f"{value:.{digits}f}"


def _text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _chart(x, y, title, values, floor):
    """values: [(tool, figure or None)]; floor: a figure to mark, or None."""
    shown = [v for _, v in values if v is not None] + ([floor] if floor else [])
    longest = max(shown, default=0) or 1
    left, out = x + NAME, [_text(x, y + 14, title, "t")]
    top, bottom = y + 22, y + 22 + ROW * len(values)
    for i, (tool, value) in enumerate(values):
        at = top + i * ROW
        out.append(_text(left - 5, at + 12, tool, "", "end"))
        width = BARS * (value or 0) / longest
        if value is not None:
            colour = COLOURS.get(tool, "#9467bd")
            out.append(f'<rect x="{left}" y="{at + 2}" width="{width:.1f}" height="{ROW - 4}" fill="{colour}"/>')
        out.append(_text(left + width + 4, at + 12, "not measured" if value is None else number(value), "v"))
    out.append(f'<line x1="{left}" y1="{top}" x2="{left}" y2="{bottom}"/>')
    if floor:
        mark = left + BARS * floor / longest
        out.append(f'<line class="f" x1="{mark:.1f}" y1="{top}" x2="{mark:.1f}" y2="{bottom}"/>')
        out.append(_text(left, bottom + 11, f"red: reading it with tar, {number(floor)} s", "a"))
    return out


def svg(results, title, subtitle, columns=COLUMNS):
    tools = results.tools()
    height = HEAD + ROW * len(tools) + 20
    cell = NAME + BARS + VALUE + GAP
    width, total = cell * len(columns) + 2 * GAP, TOP + len(results.corpora) * height + GAP
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}" viewBox="0 0 {width} {total}" role="img">',
           f"<title>{escape(title)}</title>", STYLE, f'<rect class="g" width="{width}" height="{total}" fill="#fff"/>',
           _text(GAP, 24, title, "h"), _text(GAP, 44, subtitle, "a")]
    for i, corpus in enumerate(results.corpora):
        for k, (name, label, floor) in enumerate(columns):
            values = [(tool, figure(results, corpus, tool, name)) for tool in tools]
            mark = figure(results, corpus, "floor", floor) if floor else None
            out += _chart(GAP + k * cell, TOP + i * height, f"{corpus} {TITLES[corpus]}: {label}", values, mark)
    return "\n".join(out + ["</svg>"]) + "\n"
