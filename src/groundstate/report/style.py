"""How a page looks: in light, in dark and on paper, pictures included."""

SERIES = ("#0b6e6e", "#d1495b", "#c98a11", "#30638e", "#7a5195", "#5b6675")
"""Colours of the series of a curve, in order; in the dark each has a lighter twin."""
INK = "#1b2430"
_SERIES_IN_THE_DARK = ("#4fc3c3", "#f07f8d", "#edbe4e", "#7db3dd", "#b998d3", "#9aa7b5")
_LIGHT = (
    "--ink:#1b2430;--soft:#5b6675;--line:#dfe4ea;--paper:#fff;--wash:#f6f8fa;--accent:#0b6e6e;--good:#1b7f4b;"
    "--bad:#b3261e;"
)
_DARK = (
    "--ink:#e8edf2;--soft:#9aa7b5;--line:#2c3640;--paper:#141a20;--wash:#1b232b;--accent:#4fc3c3;--good:#5fd39a;"
    "--bad:#ff8a80;"
)


def _variables(colours: tuple[str, ...]) -> str:
    return "".join(f"--series{i}:{colour};" for i, colour in enumerate(colours))


STYLE = (
    f":root{{color-scheme:light dark;{_LIGHT}{_variables(SERIES)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}{_variables(_SERIES_IN_THE_DARK)}}}}}\n"
    """body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem}h2{font-size:1.25rem;margin:2.6rem 0 .6rem}
.lead{font-size:1.1rem;color:var(--soft);margin:0 0 1.5rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.93rem}
.wide{overflow-x:auto;margin:1rem 0}caption{text-align:left;color:var(--soft);padding:.2rem 0 .5rem}
th,td{padding:.38rem .7rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;vertical-align:top}
th:first-child,td:first-child,.words{text-align:left}td.words{white-space:normal;min-width:16rem}
thead th{border-bottom:2px solid var(--ink);font-weight:600;white-space:normal;vertical-align:bottom}
td.good{color:var(--good)}
td.bad{color:var(--bad);font-weight:600}
figure{margin:1.4rem 0}figure svg{max-width:100%;height:auto;fill:currentColor}
figcaption{color:var(--soft);font-size:.93rem;margin-top:.3rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;font-size:.9rem;background:var(--wash);
padding:1rem;border-radius:8px;overflow-wrap:anywhere}dt{color:var(--soft)}dd{margin:0;font-family:ui-monospace,monospace}
.note{border-left:4px solid var(--accent);padding:.4rem 1rem;background:var(--wash)}
.crystals{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1.2rem 1.4rem}.crystal{min-width:0}
.crystal h3{font-size:1rem;font-weight:600;margin:0;overflow-wrap:anywhere}
.crystal svg{width:100%;aspect-ratio:1;touch-action:pan-y;border-radius:8px;background:var(--wash);display:block}
.turns svg{cursor:grab}.turns svg:active{cursor:grabbing}.crystal svg:focus-visible{outline:2px solid var(--accent)}
.crystal .cell{stroke:var(--soft);stroke-linecap:round}.crystal .bond{stroke:#8d99a6;stroke-linecap:round}
.crystal circle{stroke:#1b2430;stroke-opacity:.55}.scale{stroke:currentColor}
.legend{display:flex;flex-wrap:wrap;gap:.1rem .9rem;font-size:.85rem;color:var(--soft);margin-top:.25rem}
.legend i{display:inline-block;width:.75em;height:.75em;border-radius:50%;margin-right:.35em;
border:1px solid var(--soft)}
.turns .hint::after{content:"drag to turn"}
@media print{main{max-width:none;padding:0}figure,tr,.crystal{break-inside:avoid}h2{break-after:avoid}
.hint{display:none}.wide{overflow:visible}th,td{white-space:normal}}
"""
)


def recoloured(picture: str) -> str:
    """An SVG whose ink and series colours are those of the page around it, in light and in dark."""
    for colour in (INK, "#000000"):
        picture = picture.replace(colour, "currentColor")
    for i, colour in enumerate(SERIES):
        picture = picture.replace(colour, f"var(--series{i}, {colour})")
    return picture
