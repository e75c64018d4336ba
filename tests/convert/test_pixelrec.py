"""PixelRec's files, to exact text."""

from __future__ import annotations

from pathlib import Path

from recbole_pixel.store import ImageStore

INTERACTIONS = """item_id,user_id,timestamp
i2,u2,1622505600
i1,u1,1622505700
i3,u1,1622505601
i1,u10,1622505602
i2,u1,1622505601
"""

INFO = """item_id,view_number,comment_number,title,tag,description
i9,5,5,Never seen,Food,nothing
i3,1000,7,"A ""quoted"", title",Life,"two
lines\tand a tab"
i1,,12,Café  del   Mar,Music,None
"""


def test_writes_interactions_items_and_pictures(convert, covers, tmp_path: Path, capsys) -> None:
    Path("Pixel.csv").write_text(INTERACTIONS)
    Path("info.csv").write_text(INFO)
    folder = covers("i3", "i1", "i77")

    code = convert(
        "pixelrec", "--interactions", "Pixel.csv", "--items", "info.csv", "--images", folder, "--name", "pixel5"
    )

    assert code == 0
    made = tmp_path / "dataset_atomic" / "pixel5"
    assert (made / "pixel5.inter").read_text() == (
        "user_id:token\titem_id:token\ttimestamp:float\n"
        "u1\ti3\t1622505601\n"
        "u1\ti2\t1622505601\n"
        "u1\ti1\t1622505700\n"
        "u10\ti1\t1622505602\n"
        "u2\ti2\t1622505600\n"
    )
    assert (made / "pixel5.item").read_text() == (
        "item_id:token\tview_number:float\tcomment_number:float\ttitle:token_seq\ttag:token\tdescription:token_seq\n"
        'i3\t1000\t7\t"A ""quoted"", title"\tLife\ttwo lines and a tab\n'
        "i1\t\t12\tCafé del Mar\tMusic\tNone \n"
        "i2\t\t\t\t\t\n"
    )
    assert sorted(ImageStore(made / "images.lmdb").tokens()) == ["i1", "i3"]
    assert sorted(path.name for path in made.iterdir()) == ["images.lmdb", "pixel5.inter", "pixel5.item"]
    assert capsys.readouterr().out == (
        f"{Path('dataset_atomic') / 'pixel5'}: 3 users, 3 items, 5 interactions\n"
        "  time: 2021-06-01 to 2021-06-01, if its numbers are seconds since 1970\n"
        "  rows dropped: 0 of 5\n"
        "  items that the items' table does not describe, kept with empty cells: 1\n"
        "  items' table, left out: 1 items without interactions\n"
        "  pictures: 2 written\n"
        "  items without a picture: 1 (i2)\n"
        "  pictures without an item, left out: 1\n"
        "  files: images.lmdb, pixel5.inter, pixel5.item\n"
        "next: python run_recbole_pixel.py --model=PixelSASRec --dataset=pixel5 --missing_image=mean\n"
    )


def test_interactions_alone_are_enough(convert, tmp_path: Path, capsys) -> None:
    Path("Pixel.csv").write_text(INTERACTIONS)

    assert convert("pixelrec", "--interactions", "Pixel.csv", "--name", "p", "--out", tmp_path / "elsewhere") == 0

    assert (tmp_path / "elsewhere" / "p" / "p.item").read_text() == "item_id:token\ni1\ni2\ni3\n"
    assert not (tmp_path / "elsewhere" / "p" / "images.lmdb").exists()
    assert f"--dataset=p --data_path={tmp_path / 'elsewhere'} --item_tower=id\n" in capsys.readouterr().out
