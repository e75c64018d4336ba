from __future__ import annotations

import numpy as np
import pytest

from recbole_pixel.encoder.prompts import NO_LABEL, NOBODY, TARGET, USER, PromptBuilder, PromptPieces, PromptTemplate

START, HELLO, FIRST, NEXT, END, STOP = [1], [10, 11], [20], [30, 31], [40], 99
PICTURE = [50, 51, 51, 52]
TEXTS = np.array([[-1, -1, -1], [101, 102, 103], [201, -1, -1], [-1, -1, -1], [401, 402, -1]], dtype=np.int32)
HAS_PICTURE = np.array([False, True, True, True, False])


def pieces(picture: tuple[int, ...] = tuple(PICTURE), **own) -> PromptPieces:
    parts = [np.array(part) for part in (START, HELLO, FIRST, NEXT, END, picture)]
    return PromptPieces(*parts, **{"text_end": STOP, **own})


def builder(limit: int = 100, **own) -> PromptBuilder:
    return PromptBuilder(pieces(**own), TEXTS, HAS_PICTURE, limit)


def row(prompts, place: int = 0) -> list[int]:
    return prompts.ids[place][prompts.mask[place]].tolist()


def test_a_history_and_its_target_are_put_together_and_it_is_known_which_token_is_whose():
    prompts = builder().histories([np.array([1, 2])], [4])
    history = [*HELLO, *FIRST, 101, 102, 103, *END, *PICTURE, *NEXT, 201, *END, *PICTURE, *NEXT]
    target = [401, 402, *END]
    assert row(prompts) == [*START, *history, *target]
    assert prompts.owner[0].tolist() == [NOBODY] + [USER] * len(history) + [TARGET] * len(target)
    assert prompts.pictures.tolist() == [1, 2]


def test_the_targets_text_and_its_end_are_what_is_to_be_said():
    prompts = builder().histories([np.array([2])], [1])
    labels = prompts.labels[0].tolist()
    said = [place for place, label in enumerate(labels) if label != NO_LABEL]
    ids = row(prompts)
    assert [labels[place] for place in said] == [101, 102, 103, *END, STOP]
    assert [ids[place] for place in said] == [NEXT[-1], 101, 102, 103, *END]
    assert (builder().items([1]).labels == NO_LABEL).all(), "of an item alone, nothing is said"


def test_rows_are_padded_on_the_right_and_padding_is_nobodys():
    prompts = builder(padding=7).histories([np.array([1, 2]), np.array([4])], [4, 2])
    n_short = int(prompts.mask[1].sum())
    assert prompts.mask[1].tolist() == [True] * n_short + [False] * (prompts.ids.shape[1] - n_short)
    assert set(prompts.ids[1, n_short:].tolist()) == {7}
    assert set(prompts.owner[1, n_short:].tolist()) == {NOBODY}
    assert set(prompts.labels[1, n_short:].tolist()) == {NO_LABEL}


@pytest.mark.parametrize("is_first", [True, False])
def test_a_picture_stands_before_or_behind_the_text(is_first):
    prompts = builder(is_picture_first=is_first).items([1])
    text = [101, 102, 103, *END]
    assert row(prompts) == [*START, *([*PICTURE, *text] if is_first else [*text, *PICTURE])]


def test_what_an_item_lacks_is_left_out():
    made = builder()
    assert row(made.items([4])) == [*START, 401, 402, *END], "no picture"
    assert row(made.items([3])) == [*START, *PICTURE], "no text, and no end of one"
    assert made.items([4, 3, 1]).pictures.tolist() == [3, 1]
    assert row(builder(picture=()).items([1])) == [*START, 101, 102, 103, *END], "no pictures at all"


def test_the_oldest_items_are_left_out_whole_and_the_first_that_stays_is_the_first():
    history, target = np.array([4, 1, 2]), 4
    whole = len(row(builder().histories([history], [target])))
    assert builder(whole).n_kept(history, target) == 3
    for limit in range(29, whole):
        ids = row(builder(limit).histories([history], [target]))
        assert len(ids) <= limit
        assert ids.count(PICTURE[0]) == ids.count(PICTURE[-1]), "no picture is cut"
        assert ids[3:4] == FIRST
        assert ids.count(401) == (2 if len(ids) == whole else 1), "the target, and the oldest only where all fit"
        assert ids[-3:] == [401, 402, *END]


def test_the_length_is_that_of_the_limit_to_the_token():
    history = np.array([2, 2, 2, 2])
    frame, item = len(START + HELLO + FIRST + NEXT), 1 + len(END + PICTURE)
    target = 2 + len(END)
    for n_items in range(1, 5):
        exact = frame + target + n_items * item + (n_items - 1) * len(NEXT)
        made = builder()
        made.limit = exact
        assert made.n_kept(history, 4) == n_items
        assert len(row(made.histories([history], [4]))) == exact
        made.limit = exact - 1
        assert made.n_kept(history, 4) == max(1, n_items - 1)


def test_a_limit_that_an_item_and_its_target_do_not_fit_is_refused():
    longest = 3 + len(END) + len(PICTURE)
    smallest = len(START + HELLO + FIRST + NEXT) + 2 * longest
    assert builder(smallest).limit == smallest
    with pytest.raises(ValueError, match=f"prompt_tokens is {smallest - 1}.*take {smallest}"):
        builder(smallest - 1)


def test_pieces_are_tokenised_each_on_its_own():
    def tokenizer(texts, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [[ord(letter) for letter in text] for text in texts]}

    made = PromptPieces.of(PromptTemplate("A", " B", " C"), tokenizer, start=[5], markup=[6, 7], padding=3, text_end=2)
    assert made.user_prefix.tolist() == [ord("A")]
    assert made.next_prefix.tolist() == [ord(" "), ord("C")]
    assert made.end.tolist() == [ord(letter) for letter in " Image:"]
    assert (made.start.tolist(), made.picture.tolist(), made.padding, made.text_end) == ([5], [6, 7], 3, 2)
    alone = PromptPieces.of(PromptTemplate(picture="none"), tokenizer, markup=[6, 7])
    assert not len(alone.picture)
    assert not len(alone.end), "no picture is announced where none follows"


def test_templates_that_show_nothing_are_refused():
    with pytest.raises(ValueError, match="picture_place is 'left'; expected one of after, before, none"):
        PromptTemplate(picture="left")
    with pytest.raises(ValueError, match="neither its text nor its picture"):
        PromptTemplate(has_text=False, picture="none")
