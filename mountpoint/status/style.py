"""The style sheet of the status page. Its hash is in the page's Content-Security-Policy.

The colours are variables, one value for a light and one for a dark screen. A test computes the contrast of each pair.
"""

from __future__ import annotations

#: The colours by name: in a light scheme, and in a dark one.
COLOURS = {
    "page": ("#ffffff", "#0f1419"),
    "card": ("#f5f7f9", "#192028"),
    "line": ("#d3dae1", "#36414d"),
    "text": ("#1c2329", "#e8edf2"),
    "quiet": ("#55616d", "#a3b0bd"),
    "link": ("#0b57a4", "#7db8f5"),
    "well": ("#106b36", "#5fd08d"),
    "well-back": ("#e2f5e8", "#10301f"),
    "trouble": ("#ab1226", "#ff919a"),
    "trouble-back": ("#fde9ea", "#421a1f"),
    "warn": ("#7a4a00", "#f0b95a"),
    "warn-back": ("#fdf1d8", "#3a2a0c"),
    "requests": ("#7fa8d1", "#466f99"),
    "errors": ("#c2182e", "#ff6b78"),
    "seconds": ("#8a7cc0", "#8f80d0"),
}


def _variables(scheme: int) -> str:
    return "".join(f"--{name}:{values[scheme]};" for name, values in COLOURS.items())


STYLE = (
    f"""
:root {{ color-scheme: light dark; {_variables(0)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(1)} }} }}
"""
    """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0 auto; max-width: 82rem; padding: 1rem 1.25rem 2rem;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--text); background: var(--page);
}
h1 { margin: 0 0 1rem; padding: .7rem 1rem; border-radius: .5rem; font-size: 1.45rem; line-height: 1.3;
  border-left: .45rem solid; overflow-wrap: anywhere; }
h1.well { color: var(--well); background: var(--well-back); }
h1.trouble { color: var(--trouble); background: var(--trouble-back); }
.sign { display: inline-block; margin-right: .6rem; }
h2 { margin: 1.5rem 0 .4rem; font-size: 1.1rem; }
p { margin: 0 0 .5rem; }
a { color: var(--link); }
.quiet, caption, figcaption, .app, footer { color: var(--quiet); }
.mono { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", Consolas, monospace; font-size: .87em; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.troubles h2 { margin-top: 0; }
.troubles ul { margin: 0; padding: 0; list-style: none; }
.troubles li { padding: .3rem 0; overflow-wrap: anywhere; }
.troubles a { font-weight: 600; }
.reason { margin-left: .6rem; }
.word { display: inline-block; padding: .05rem .5rem; border-radius: .3rem; font-size: .87em; font-weight: 600;
  white-space: nowrap; color: var(--well); background: var(--well-back); }
.word.broken, .word.failing { color: var(--trouble); background: var(--trouble-back); }
.word.slow, .word.rejecting, .word.loading, .word.starting { color: var(--warn); background: var(--warn-back); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr)); gap: .5rem; margin: 1.2rem 0 0; }
dl div { padding: .4rem .5rem; border-radius: .5rem; background: var(--card); border: 1px solid var(--line); }
dt { color: var(--quiet); font-size: .85rem; }
dd { margin: 0; font-size: 1.1rem; white-space: nowrap; font-weight: 600; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .6rem .8rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--card); }
svg { display: block; }
svg.large { width: 100%; height: auto; margin-top: .4rem; }
svg text { fill: var(--quiet); font-size: 12px; }
svg text.y { text-anchor: end; }
.grid { stroke: var(--line); }
.requests { fill: var(--requests); }
.errors { fill: var(--errors); }
.seconds { fill: var(--seconds); }
.none { color: var(--quiet); font-size: .87em; }
.key-requests::before, .key-errors::before { content: ""; display: inline-block; width: .8em; height: .8em;
  margin-right: .3em; border-radius: .15em; background: var(--requests); forced-color-adjust: none; }
.key-errors::before { background: var(--errors); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .95rem; }
caption { padding: .5rem .6rem; text-align: left; font-size: .87rem; }
th, td { padding: .35rem .6rem; border-top: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { background: var(--card); font-size: .87rem; white-space: nowrap; }
tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 7rem; }
tbody tr:hover > * { background: var(--card); }
tbody tr:target > * { background: var(--warn-back); }
.app { display: block; font-weight: 400; font-size: .87em; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.mono { overflow-wrap: anywhere; min-width: 10rem; }
footer { margin-top: 2rem; padding-top: .8rem; border-top: 1px solid var(--line); font-size: .9rem;
  overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-bottom: .5rem; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media (max-width: 40rem) {
  body { padding: .75rem .75rem 2rem; }
  h1 { font-size: 1.2rem; }
  .reason { display: block; margin-left: 0; }
  dd { font-size: 1rem; }
  svg text { font-size: 18px; }
  th, td { padding: .35rem .5rem; }
  tbody th, thead th:first-child { position: sticky; left: 0; background: var(--page); }
  tbody th { max-width: 9rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  nav { display: none; }
  h1 { font-size: 14pt; }
  dl { grid-template-columns: repeat(8, auto); gap: .2rem; }
  dd { font-size: 9pt; }
  .charts { grid-template-columns: 1fr 1fr; }
  .wide { overflow: visible; border: 0; }
  table, thead th, caption, dt { font-size: 8pt; }
  th, td { padding: .1rem .25rem; }
  tbody th, td.mono { min-width: 0; }
  svg.small { width: 60px; height: auto; }
  tr, figure, dl div, .troubles { break-inside: avoid; }
  h2 { break-after: avoid; }
  h1, .word, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
)
