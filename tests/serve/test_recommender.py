"""A recommender's answers are those of the evaluation, and each other's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.utils import get_trainer
from served_world import CASES

import recbole_pixel
from recbole_pixel.evaluation.history_mask import HistoryMaskMixin

PRODUCTS = [case for case in CASES if not case.startswith("VisRank")]


@pytest.mark.parametrize("case", CASES)
def test_scores_and_rankings_are_those_of_the_test_evaluation(case, saved, recommender):
    _, config, model, (_, _, test) = saved(case)
    answering = recommender(case, history="train")
    kind = get_trainer(config["MODEL_TYPE"], config["model"])
    bases = (kind,) if issubclass(kind, HistoryMaskMixin) else (HistoryMaskMixin, kind)
    trainer = type("Masking", bases, {})(config, model)
    tokens = test.dataset.field2id_token
    n_compared = 0
    trainer._histories = getattr(test.dataset, "histories", None)
    trainer.tot_item_num, trainer.item_tensor = test.dataset.item_num, None
    for batch in test:
        with torch.no_grad():
            rows, scores, *_ = trainer._full_sort_batch_eval(batch)
            raw = model.full_sort_predict(rows).view(len(rows), -1)[:, 1:]
        users = [str(tokens["user_id"][user]) for user in rows["user_id"]]
        torch.testing.assert_close(torch.from_numpy(answering.scores(users)), raw, atol=1e-5, rtol=1e-5)
        for answer, row in zip(answering.recommend(users, topk=4), torch.as_tensor(scores[:]), strict=True):
            best = row.topk(4)
            assert answer.items == [str(tokens["item_id"][item]) for item in best.indices]
            assert answer.scores == pytest.approx(best.values.tolist(), abs=1e-5)
            n_compared += 1
    assert n_compared == 16


@pytest.mark.parametrize("case", PRODUCTS)
def test_scores_are_products_of_the_exported_vectors(case, recommender):
    answering = recommender(case)
    products = answering.user_vectors() @ answering.item_vectors().T
    np.testing.assert_allclose(products, answering.scores(), atol=1e-5, rtol=1e-5)
    assert products.shape == (len(answering.users), 24)


@pytest.mark.parametrize("case", ["PixelSASRec:id", "PixelMF:id"])
def test_histories_are_whole_or_stop_before_the_test_target(case, served, recommender):
    rows = (Path(served["data_path"]) / "word" / "word.inter").read_text().splitlines()[1:]
    consumed = [row.split("\t")[1] for row in rows if row.startswith("u3\t")]
    assert recommender(case).history("u3") == consumed
    assert recommender(case, history="train").history("u3") == consumed[:-1]


def test_cold_items_are_part_of_what_users_consumed(recommender):
    whole, warm = (recommender("PixelSASRec:id", kind, cold_items=0.2) for kind in ("all", "train"))
    assert sum(len(whole.history(user)) for user in whole.users) == 16 * 5 + 2
    assert all(len(whole.history(user)) > len(warm.history(user)) for user in warm.users if user.startswith("u"))


def test_cold_items_are_lifted_as_in_the_runs_test(recommender):
    plain, lifted = (recommender("PixelSASRec:id", cold_items=0.2, **own) for own in ({}, {"cold_offset": 1000.0}))
    warm = set(plain.items) - {item for answer in lifted.recommend(topk=2) for item in answer.items}
    assert 24 - len(warm) <= round(24 * 0.2), "none but those held out are first now"
    first = plain.recommend(topk=2)
    assert any(item in warm for answer in first for item in answer.items)


def test_consumed_items_are_left_out_and_candidates_are_kept_to(recommender):
    answering = recommender("PixelSASRec:image")
    every = answering.recommend("u0", topk=99)[0]
    assert len(every.items) == 24 - 5
    assert not set(every.items) & set(answering.history("u0"))
    assert every.scores == sorted(every.scores, reverse=True)
    assert len(answering.recommend("u0", 99, exclude_history=False)[0].items) == 24
    few = answering.recommend(["u1", "u0"], candidates=["i7", "r_new", answering.history("u0")[0]])
    assert [answer.user for answer in few] == ["u1", "u0"]
    assert set(few[1].items) == {"i7", "r_new"} - set(answering.history("u0"))


@pytest.mark.parametrize("case", ["PixelSASRec:text", "VisRank:features"])
def test_people_never_met_get_what_a_user_of_their_history_gets(case, recommender):
    answering = recommender(case)
    known = answering.recommend(["u2", "u5"])
    unknown = answering.recommend_for([answering.history("u2"), answering.history("u5")])
    assert [answer.items for answer in unknown] == [answer.items for answer in known]
    assert [answer.user for answer in unknown] == ["", ""]
    assert answering.recommend("u2")[0].items == known[0].items  # nothing of theirs stayed behind


@pytest.mark.parametrize("given", ["i1", ["i1", "i2"], [["i1"], "i2"], [1, 2], b"i1"])
def test_the_history_of_one_is_not_taken_for_many_people(recommender, given):
    with pytest.raises(TypeError, match="is given as the history of a person; expected a list of items for each"):
        recommender("PixelSASRec:image").recommend_for(given)


def test_neighbours_have_the_highest_cosines(recommender):
    answering = recommender("PixelSASRec:image")
    vectors = answering.item_vectors()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit[answering.items.index("i4")]
    expected = [answering.items[place] for place in np.argsort(-cosines) if answering.items[place] != "i4"]
    answer = answering.similar("i4", topk=30)[0]
    assert answer.items == expected
    assert answer.similarities[0] == pytest.approx(np.sort(cosines)[-2], abs=1e-5)


def test_batches_of_users_change_nothing(recommender, monkeypatch):
    answering = recommender("PixelSASRec:image")
    whole = answering.recommend()
    monkeypatch.setattr(answering._users, "_at_once", 3)
    assert [answer.items for answer in answering.recommend()] == [answer.items for answer in whole]


def test_loading_leaves_random_numbers_alone(saved):
    path = saved("PixelSASRec:id").path
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(2).tolist(), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    recbole_pixel.load(path)
    assert (torch.rand(2).tolist(), np.random.rand()) == expected


def test_unknown_names_are_told_with_the_nearest(recommender):
    answering = recommender("PixelSASRec:id")
    with pytest.raises(LookupError, match=r"1 of 2 users are not among the 18 .*\['U3x'\]; the nearest is u3"):
        answering.recommend(["u1", "U3x"])
    with pytest.raises(LookupError, match=r"1 of 1 items are not among the 24 .*; the nearest is r_new"):
        answering.similar("r_nevv")
    with pytest.raises(ValueError, match="topk is 0"):
        answering.recommend("u1", topk=0)
    with pytest.raises(NotImplementedError, match="PixelMF knows users by their ids alone"):
        recommender("PixelMF:id").recommend_for([["i1"]])
    with pytest.raises(NotImplementedError, match="VisRank does not rank by products"):
        recommender("VisRank:features").user_vectors()
