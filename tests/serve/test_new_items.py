"""A new item goes the way of the catalogue's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recbole_pixel.data.item_text import item_texts
from recbole_pixel.serve.recommender import Recommender
from recbole_pixel.serve.stored_form import StoredForm
from recbole_pixel.store import ImageStore, PictureError, build_image_store, decode_image, encode_image, open_source

ITEM = "i6"


@pytest.fixture
def picture(served) -> Path:
    return Path(served["data_path"]) / "word-pictures" / f"{ITEM}.png"


@pytest.fixture
def words(served) -> dict[str, str]:
    return item_texts(Path(served["data_path"]) / "word" / "word.item", None)


def own_vector(answering: Recommender, item: str = ITEM) -> np.ndarray:
    return answering.item_vectors()[answering.items.index(item)]


@pytest.mark.parametrize("case", ["PixelSASRec:image", "PixelBERT4Rec:image", "PixelMF:image"])
def test_a_stored_picture_gives_the_items_own_vector_and_neighbours(case, recommender, served, picture):
    answering = recommender(case)
    stored = ImageStore(Path(served["data_path"]) / "word" / "images.lmdb").read(ITEM)
    for given in (stored, picture, Image.open(picture)):
        np.testing.assert_allclose(answering.new_item(given)[0], own_vector(answering), atol=1e-5)
    answer = answering.score_new(picture, topk=5)[0]
    assert answer.name == ITEM
    assert answer.items[0] == ITEM
    assert answer.similarities[0] == pytest.approx(1, abs=1e-5)
    assert answer.items[1:] == answering.similar(ITEM, 4)[0].items
    column = answering.scores()[:, answering.items.index(ITEM)]
    assert answer.users == [answering.users[place] for place in np.argsort(-column, kind="stable")[:5]]
    assert answer.scores == pytest.approx(np.sort(column)[:-6:-1].tolist(), rel=1e-5)


@pytest.mark.parametrize("own", [{}, {"cold_calibration": "standard"}, {"mask_history": False}])
@pytest.mark.parametrize("case", ["PixelSASRec:image", "PixelMF:image"])
def test_a_cold_item_scores_the_same_however_it_is_asked_for(case, own, recommender, served, picture):
    answering = recommender(case, cold_items=0.3, cold_split=2, cold_offset=1.5, **own)
    plain = recommender(case, cold_items=0.3, cold_split=2)
    lifted = (answering.scores() - plain.scores() != 0).all(0)
    cold = [item for item, is_lifted in zip(answering.items, lifted, strict=True) if is_lifted]
    assert len(cold) == 7
    item = next(item for item in cold if item not in answering.history("u1"))
    asked = answering.score_new(picture.with_name(f"{item}.png"), topk=99)[0]
    expected = dict(zip(answering.users, answering.scores()[:, answering.items.index(item)].tolist(), strict=True))
    assert dict(zip(asked.users, asked.scores, strict=True)) == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for excludes in (True, False):
        answer = answering.recommend("u1", 99, exclude_history=excludes)[0]
        assert answer.scores[answer.items.index(item)] == pytest.approx(expected["u1"], rel=1e-5)
    products = answering.user_vectors() @ answering.item_vectors().T
    np.testing.assert_allclose(products, plain.scores(), atol=1e-5, rtol=1e-5)


def test_many_pictures_are_read_some_at_a_time(recommender, picture, monkeypatch):
    monkeypatch.setattr("recbole_pixel.serve.vector_space.NEW_AT_ONCE", 2)
    answering = recommender("PixelSASRec:image")
    items = ["i1", "i2", "i3", "i4", "i5"]
    answers = answering.score_new([picture.with_name(f"{item}.png") for item in items], topk=1)
    assert [(answer.name, answer.items) for answer in answers] == [(item, [item]) for item in items]


def test_vectors_of_users_are_made_anew_where_they_are_too_many_to_keep(recommender, picture, monkeypatch):
    answering = recommender("PixelMF:image")
    expected = answering.score_new(picture)
    monkeypatch.setattr(answering._space, "_kept_users", None)
    monkeypatch.setattr("recbole_pixel.serve.vector_space.KEPT_NUMBERS", 0)
    assert answering.score_new(picture) == expected
    assert answering._space._kept_users is None


def test_texts_and_features_too(recommender, served, words, picture):
    text = recommender("PixelSASRec:text")
    np.testing.assert_allclose(text.new_item(texts=words[ITEM])[0], own_vector(text), atol=1e-5)
    both = recommender("PixelSASRec:image_text")
    np.testing.assert_allclose(both.new_item(picture, words[ITEM])[0], own_vector(both), atol=1e-5)
    assert np.abs(both.new_item(picture)[0] - own_vector(both)).max() > 1e-3  # its text was hidden
    colours = np.asarray(Image.open(picture)).mean((0, 1), dtype=np.float64) / 255
    features = recommender("PixelDSSM:features")
    np.testing.assert_allclose(features.new_item(features=colours[None])[0], own_vector(features), atol=1e-5)


def test_a_part_that_training_never_missed_must_be_given(recommender, picture):
    answering = recommender("PixelSASRec:image_text", modality_dropout=0.0)
    with pytest.raises(ValueError, match=r"a new item needs its text, too: .* made of picture and text"):
        answering.new_item(picture)


def test_the_mean_picture_stands_in_where_it_did_in_training(recommender, words):
    answering = recommender("PixelSASRec:image_text", missing_image="mean")
    assert answering.new_item(texts=words[ITEM]).shape == (1, 16)
    assert not np.allclose(answering.new_item(texts=words["i1"]), answering.new_item(texts=words["i2"]))


def test_what_cannot_be_is_refused_with_the_reason(recommender, picture, tmp_path):
    for case, why in (
        ("PixelSASRec:id", "knows items by their ids alone"),
        ("VBPR:features", "numbers learnt for its id"),
        ("PixelLightGCN:features", "from who consumed it"),
    ):
        given = {"images": [picture]} if case.endswith(":id") else {"features": np.zeros((1, 3))}
        with pytest.raises(NotImplementedError, match=why):
            recommender(case).new_item(**given)
    answering = recommender("PixelSASRec:image")
    with pytest.raises(ValueError, match="text was given of new items; this model's items are made of picture"):
        answering.new_item(texts="a red hat")
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        answering.new_item(tmp_path / "nothing.jpg")
    page = tmp_path / "page.jpg"
    page.write_text("<!doctype html>")
    with pytest.raises(PictureError, match=r"page\.jpg: text, not a picture"):
        answering.score_new([picture, page])
    for given in ([None], [np.zeros((32, 32, 3), np.uint8)], np.zeros((32, 32, 3), np.uint8)):
        with pytest.raises(
            TypeError, match=r"a picture is given as (None|numpy\.ndarray); expected its file, the bytes"
        ):
            answering.score_new(images=given)
    with pytest.raises(ValueError, match="no new item was given: the list is empty; expected picture of at least one"):
        answering.score_new(images=[])
    with pytest.raises(ValueError, match=r"of shape \[2\]; expected \[3\] an item"):
        recommender("PixelDSSM:features").new_item(features=np.zeros((1, 2)))


def test_pictures_take_the_form_that_a_store_gives_them(tmp_path):
    rng = np.random.default_rng(0)
    source = tmp_path / "source"
    source.mkdir()
    Image.fromarray(rng.integers(0, 255, (90, 60, 3)).astype(np.uint8)).save(source / "a.jpg", quality=80)
    data = (source / "a.jpg").read_bytes()
    for number, own in enumerate(({"fit": "pad"}, {"fit": "crop", "size": 48}, {"keep_original": True})):
        out = tmp_path / f"{number}.lmdb"
        build_image_store(open_source(source), out, progress=False, **own)
        store = ImageStore(out)
        form = StoredForm.of(store.manifest)
        assert form.file(data) == store.read("a")
        assert form.file(store.read("a")) == store.read("a")  # encoding it again would blur it
    other = encode_image(decode_image(data, 48), quality=70)
    assert StoredForm(48, "crop").file(other) != other
