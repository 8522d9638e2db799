"""The page: complete, self-contained, and safe from what labels hold."""

from __future__ import annotations

import base64
import html.parser

from tf_perceiver.report.page import Headline, Picture, Section, Table, render


class Reader(html.parser.HTMLParser):
    """Collects the page's tags with their attributes, and its text; checks that tags close."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.text.append(data.strip())

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


def page(**changes) -> str:
    table = Table("Mistakes", ("truth", "examples"), (("cat", "7"),), frozenset({1}))
    content = {
        "title": "digits:tiny on digits",
        "subtitle": "step 20",
        "headlines": [Headline("97.5 %", "accuracy on test")],
        "facts": [("Parameters", "1,234")],
        "sections": [
            Section("Training", "Text.", [Picture("loss", b"\x89PNG...", "Loss.", wide=False)]),
            Section("Nothing to show", "Left out."),
            Section("Confusions", tables=[table]),
        ],
    }
    return render(**(content | changes))


def test_everything_is_on_the_page():
    reader = Reader(page())
    for text in ("digits:tiny on digits", "97.5 %", "Parameters", "1,234", "Training", "cat", "7"):
        assert text in reader.text
    assert "Nothing to show" not in reader.text
    assert not reader.open


def test_pictures_are_inside_of_the_page_and_linked_to_their_files():
    reader = Reader(page())
    (image,) = reader.all("img")
    kind, content = image["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == b"\x89PNG..."
    assert image["alt"] == "Loss."
    assert [link["href"] for link in reader.all("a")] == ["loss.png"]


def test_nothing_is_fetched_and_nothing_is_run():
    text = page()
    reader = Reader(text)
    assert not reader.all("script")
    assert not reader.all("link")
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_both_colour_schemes_are_there():
    assert "color-scheme: light dark" in page()
    assert "prefers-color-scheme: dark" in page()


def test_labels_cannot_break_the_page():
    evil = "<script>alert('1')</script> & \"co\""
    table = Table(evil, (evil,), ((evil,),))
    picture = Picture("loss", b"", evil, evil)
    reader = Reader(
        page(title=evil, sections=[Section(evil, evil, [picture], [table])], facts=[(evil, evil)])
    )
    assert not reader.all("script")
    assert reader.text.count(evil) == 10
    assert reader.all("img")[0]["alt"] == evil


def test_numeric_columns_are_flush_right():
    reader = Reader(page())
    assert [cell.get("class") for cell in reader.all("td")] == [None, "number"]
    assert [cell.get("class") for cell in reader.all("th")] == [None, "number"]
