"""Pages hold their pictures, escape what data says, and ask for nothing outside."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pytest

from recbole_pixel.serve.page.faces import Covers, ItemFaces, titles_in
from recbole_pixel.serve.page.thumbnails import SIDE, thumbnail_uri
from recbole_pixel.serve.pages import neighbours_page, new_items_page, recommendations_page
from recbole_pixel.serve.recommender import Recommender
from recbole_pixel.store import decode_image, encode_image

EVIL = '<script>alert("x")</script> & "hats"'


class Page(HTMLParser):
    """The tags of a page, and the classes of each element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.labels: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        own = dict(attributes)
        self.tags.append(tag)
        self.classes.append(own.get("class") or "")
        self.labels += [own["aria-label"] or ""] if "aria-label" in own else []
        self.addresses += [own[key] or "" for key in ("src", "href") if key in own]


@pytest.fixture
def answering(recommender) -> Recommender:
    return recommender("PixelSASRec:image")


def test_users_histories_and_items_are_on_the_page_each_picture_once(answering):
    answers = answering.recommend(["u0", "u1", "u2"], topk=4)
    text = recommendations_page(answering, answers)
    page = Page(text)
    shown = {item for answer in answers for item in (*answer.items, *answering.history(answer.user))}
    assert len(re.findall(r"^\.c\d+\{", text, flags=re.MULTILINE)) == len(shown)
    assert text.index(".c0{") > text.index(".cover {")  # which would take the picture away again
    assert page.tags.count("section") == 3
    assert sum(entry.startswith("cover c") for entry in page.classes) == 3 * (5 + 4)
    titles = [answering.faces.title(item) for item in answering.history("u0")[::-1] + answers[0].items]
    assert page.labels[:9] == titles
    assert page.addresses == ["data:,"]
    assert "http://" not in text.replace("http-equiv", "")
    assert "https://" not in text


def test_what_data_says_is_text(answering, monkeypatch):
    answers = answering.similar(["i1"], topk=2)
    monkeypatch.setattr(answering.faces, "_titles", dict.fromkeys(["i1", *answers[0].items], EVIL))
    text = neighbours_page(answering, answers)
    assert "script" not in Page(text).tags
    assert Page(text).labels == [EVIL] * 3
    assert "&lt;script&gt;" in text


def test_a_new_item_is_shown_beside_what_it_is_near(answering, served, tmp_path):
    picture = f"{served['data_path']}/word-pictures/i6.png"
    text = new_items_page(answering, answering.score_new(picture, topk=3), [picture])
    page = Page(text)
    assert page.tags.count("img") == 1
    assert page.tags.count("tr") == 1 + 3
    assert all(address.startswith("data:") for address in page.addresses)


def test_thumbnails_keep_their_shape():
    import numpy as np

    uri = thumbnail_uri(encode_image(np.full((300, 150, 3), 200, np.uint8)))
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    assert decode_image(base64.b64decode(data)).shape == (SIDE, SIDE // 2, 3)


def test_items_without_pictures_or_titles_are_shown_by_their_tokens(tmp_path):
    covers = Covers(ItemFaces({}, None), ["a", "a"])
    assert (covers.title("a"), covers.style("a"), str(covers.rules)) == ("a", "cover none", "")
    assert titles_in(tmp_path / "none.item", "item_id") == {}
    (tmp_path / "x.item").write_text("item_id:token\tprice:float\tmovie_title:token_seq\na\t1\tBlue hat\n")
    assert titles_in(tmp_path / "x.item", "item_id") == {"a": "Blue hat"}
