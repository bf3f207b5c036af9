"""Read HTML as a browser does, and text that tries to become markup in it."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import strategies as st

HOSTILE = st.text(st.sampled_from("<>&\"'/=- \n\t`;ab\0\u202e\ud800\uffff\x7f\x9f!s"), max_size=30)


class Reader(HTMLParser):
    """Collects the elements, attributes, texts, comments and declarations of a document."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.found, self.data = [], ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data += data

    def handle_comment(self, data):
        self.found.append(("comment", data))

    handle_decl = unknown_decl = handle_pi = handle_comment
