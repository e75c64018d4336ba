"""What was written, read by RecBole itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_pixel.convert import InteractionColumns, ItemColumn, ItemSource, Source, SourceTable, convert

LOG = 'user,item,time\n"a ""b""",1,1650000002\n"a ""b""",2,1650000001\n007,"""3""",5\n'
ITEMS = 'item,title,price\n1,"Tab\tand\nline and ""quotes""",2.5\n2,"""Leading quote",\n"""3""",None,7\n'


def test_recbole_reads_the_same_ids_titles_and_times(tmp_path: Path) -> None:
    pytest.importorskip("recbole", reason="RecBole is not installed")
    from recbole.config import Config
    from recbole.data.dataset import Dataset

    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    columns = (ItemColumn("title", "token_seq"), ItemColumn("price", "float"))
    items = ItemSource(SourceTable(tmp_path / "items.csv"), "item", columns)
    convert(
        Source(SourceTable(tmp_path / "log.csv"), InteractionColumns("user", "item", "time"), items), "odd", tmp_path
    )

    settings = {"data_path": str(tmp_path), "load_col": None, "save_dataset": False, "use_gpu": False}
    dataset = Dataset(Config(model="BPR", dataset="odd", config_dict=settings))

    assert set(dataset.field2id_token["user_id"]) == {"[PAD]", 'a "b"', "007"}
    assert set(dataset.field2id_token["item_id"]) == {"[PAD]", "1", "2", '"3"'}
    titles = dict(
        zip(dataset.id2token("item_id", dataset.item_feat["item_id"]), dataset.item_feat["title"], strict=True)
    )
    words = {token: [w for w in dataset.id2token("title", title) if w != "[PAD]"] for token, title in titles.items()}
    assert words["1"] == ["Tab", "and", "line", "and", '"quotes"']
    assert words["2"] == ['"Leading', "quote"]
    assert words['"3"'] == ["None"]
    assert len(dataset) == 3
