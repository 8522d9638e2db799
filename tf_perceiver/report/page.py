"""The report's page: one HTML file with its pictures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence

import jinja2


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
      name: its file beside the page, without the extension.
      png: the file's bytes.
      alt: what it shows, for those who don't see it.
      caption: how to read it; may be empty.
      wide: whether it takes the page's whole width rather than half of it.
    """

    name: str
    png: bytes
    alt: str
    caption: str = ""
    wide: bool = True

    @property
    def uri(self) -> str:
        """The picture as a data URI, so that the page can be sent about alone."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the page: `header` and `rows` of text; `numeric` columns are set flush right."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True)
class Passage:
    """A text of the page, with what stands over it.

    Attributes:
      caption: one line.
      parts: the text in parts, each with what it is: "" for plain, "right" and "wrong" for what a
        model said, "truth" for what should stand in place of the wrong.
    """

    caption: str
    parts: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: a title, a lead-in, pictures, tables and passages of text."""

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    passages: Sequence[Passage] = ()


@dataclasses.dataclass(frozen=True)
class Headline:
    """A number that is set large, and what it is."""

    value: str
    meaning: str


def render(
    title: str,
    subtitle: str,
    headlines: Sequence[Headline],
    facts: Sequence[tuple[str, str]],
    sections: Sequence[Section],
) -> str:
    """Renders the page. All text is plain and gets escaped.

    Args:
      title: of the page.
      subtitle: one line below it.
      headlines: the two to four numbers that people come for.
      facts: (name, value) of the run.
      sections: in their order; those with nothing but a lead-in are left out.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_TEMPLATE).render(
        title=title,
        subtitle=subtitle,
        headlines=headlines,
        facts=facts,
        sections=[it for it in sections if it.pictures or it.tables or it.passages],
        style=jinja2.utils.markupsafe.Markup(_STYLE),
    )


_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fcfcfb; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --accent: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --ink: #e6e8ea; --soft: #9aa4ae; --line: #343a41; --accent: #56b4e9;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 3rem 1.25rem 5rem; max-width: 66rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { margin: 0; font-size: 2.1rem; line-height: 1.15; letter-spacing: -0.02em; }
h2 {
  margin: 3.5rem 0 0.5rem; padding-top: 1rem; border-top: 1px solid var(--line);
  font-size: 1.3rem; letter-spacing: -0.01em;
}
p { margin: 0 0 1rem; max-width: 44rem; }
.subtitle, figcaption, caption, dt, .headlines span { color: var(--soft); }
.headlines { display: flex; flex-wrap: wrap; gap: 1rem 3rem; margin: 2rem 0; }
.headlines b {
  display: block; font-size: 2.6rem; font-weight: 650; line-height: 1.1;
  letter-spacing: -0.03em; color: var(--accent);
}
dl {
  display: grid; gap: 0.9rem 2rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr));
}
dt { font-size: 0.82rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem; margin: 1rem 0; }
figure { margin: 0; flex: 1 1 100%; min-width: 0; }
figure.half { flex: 1 1 20rem; max-width: 32rem; }
figure img {
  display: block; max-width: 100%; height: auto; margin: 0 auto; padding: 0.6rem;
  background: #fff; border: 1px solid var(--line); border-radius: 0.5rem;
}
figcaption { margin-top: 0.5rem; font-size: 0.88rem; max-width: 44rem; }
.tables { display: flex; flex-wrap: wrap; gap: 2rem 3rem; margin-top: 1.5rem; }
table { border-collapse: collapse; font-size: 0.92rem; }
caption { text-align: left; padding-bottom: 0.4rem; font-size: 0.88rem; }
th, td {
  padding: 0.25rem 1.2rem 0.25rem 0; text-align: left; border-bottom: 1px solid var(--line);
}
th { font-weight: 600; }
.number { text-align: right; }
.passages { margin-top: 1.5rem; }
figure.passage { margin: 0 0 1.5rem; max-width: 50rem; }
.passage p {
  margin: 0; max-width: none; padding: 0.6rem 0.9rem; border-left: 3px solid var(--line);
  white-space: pre-wrap; overflow-wrap: anywhere;
  font: 0.88rem/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
}
.passage ins, .passage del, .passage b { font-weight: 600; text-decoration: none; }
.passage ins { color: #007a5a; }
.passage del { color: #c04a00; text-decoration: line-through; }
.passage b { color: var(--accent); }
@media print { body { padding: 0; } h2, figure { break-inside: avoid; } }
"""

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<header>
<h1>{{ title }}</h1>
<p class="subtitle">{{ subtitle }}</p>
</header>
<div class="headlines">
{% for headline in headlines %}
<div><b>{{ headline.value }}</b><span>{{ headline.meaning }}</span></div>
{% endfor %}
</div>
<dl>
{% for name, value in facts %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% for section in sections %}
<section>
<h2>{{ section.title }}</h2>
{% if section.text %}
<p>{{ section.text }}</p>
{% endif %}
{% if section.pictures %}
<div class="pictures">
{% for picture in section.pictures %}
<figure{% if not picture.wide %} class="half"{% endif %}>
<a href="{{ picture.name }}.png"><img src="{{ picture.uri }}" alt="{{ picture.alt }}"></a>
{% if picture.caption %}
<figcaption>{{ picture.caption }}</figcaption>
{% endif %}
</figure>
{% endfor %}
</div>
{% endif %}
{% if section.passages %}
<div class="passages">
{% for passage in section.passages %}
<figure class="passage">
<p>
{%- for text, kind in passage.parts -%}
{% if kind == "right" %}<ins>{{ text }}</ins>
{%- elif kind == "wrong" %}<del>{{ text }}</del>
{%- elif kind == "truth" %}<b>{{ text }}</b>
{%- else %}{{ text }}
{%- endif %}
{%- endfor -%}
</p>
<figcaption>{{ passage.caption }}</figcaption>
</figure>
{% endfor %}
</div>
{% endif %}
{% if section.tables %}
<div class="tables">
{% for table in section.tables %}
<table>
<caption>{{ table.caption }}</caption>
<thead><tr>
{% for cell in table.header %}
<th scope="col"{% if loop.index0 in table.numeric %} class="number"{% endif %}>{{ cell }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>
{% for cell in row %}
<td{% if loop.index0 in table.numeric %} class="number"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
</div>
{% endif %}
</section>
{% endfor %}
</body>
</html>
"""
