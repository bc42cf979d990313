import re
from base64 import b64decode
from html.parser import HTMLParser

from fake_runs import write_run

from mher_pl.compare.page import differing_settings, make_page
from mher_pl.compare.report import main
from mher_pl.compare.runs import read_run


class Reader(HTMLParser):
    """Keeps a page's tables and text, and fails where a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tables, self.texts, self.images = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs)["src"])
        if tag not in ("img", "meta"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1].append(data)
        self.texts.append(data)


def groups_of(tmp_path, **algorithms):
    """Return groups of two seeds each, by algorithm, on one task, of runs with the given model settings."""
    groups = {}
    for name, model in algorithms.items():
        folders = [tmp_path / f"a folder/{name}/{seed}" for seed in range(2)]
        runs = [
            read_run(write_run(folder, [0.5, 1.0], algorithm=name, seed=seed, model=model | {"seed": seed}))
            for seed, folder in enumerate(folders)
        ]
        groups[runs[0].task, name] = runs
    return groups


def test_the_page_of_a_report_needs_no_other_file(tmp_path):
    for name, rates in (("mher", [0.5, 1.0]), ("her", [0.25, 0.5])):
        write_run(tmp_path / f"runs/{name}", rates, algorithm=name)
    main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out/report.html").read_text()
    page = Reader(text)
    (image,) = page.images
    assert b64decode(image.removeprefix("data:image/png;base64,")) == (tmp_path / "out/curves.png").read_bytes()
    assert not re.search(r"(src|href)=\"(?!data:)|@import|<script|url\(", text)
    assert [line[:4] for line in page.tables[0][1:]] == [["mher", "1", "100", "1.000"], ["her", "1", "100", "0.500"]]
    assert page.tables[1][1][:3] == ["her", "1", "1 : 1"]


def test_it_shows_the_settings_in_which_methods_differ_and_no_others(tmp_path):
    groups = groups_of(tmp_path, mher={"steps": 3, "discount": 0.9}, her={"ratio": 0.8, "discount": 0.9})
    (table,) = differing_settings(groups)
    assert table.title == "Point2DLarge-v1"
    assert table.header == ("setting", "mher", "her")
    assert table.rows == [("model.steps", "3", "–"), ("model.ratio", "–", "0.8")]


def test_classes_of_the_package_are_named_without_their_modules(tmp_path):
    own, theirs = "mher_pl.relabel.ModelBased", "their.mher_pl.Goals"
    (table,) = differing_settings(groups_of(tmp_path, mher={"relabel": own}, her={"relabel": theirs}))
    assert table.rows == [("model.relabel", "ModelBased", theirs)]


def test_tasks_on_which_the_same_settings_differ_share_a_table(tmp_path):
    groups = groups_of(tmp_path, mher={"steps": 3}, her={"steps": 0})
    other = {("Other-v1", name): runs for (_, name), runs in groups.items()}
    (table,) = differing_settings(groups | other)
    assert table.title == "Point2DLarge-v1, Other-v1"


def test_methods_without_a_difference_have_no_such_table(tmp_path):
    groups = groups_of(tmp_path, mher={"steps": 3}, her={"steps": 3})
    assert differing_settings(groups) == []
    assert "Settings that differ" not in make_page(b"", [], groups)


def test_seeds_of_other_settings_show_all_of_them(tmp_path):
    groups = groups_of(tmp_path, mher={"steps": 3}, her={"steps": 0})
    (key, runs), (other, _) = groups.items()
    groups[key] = [runs[0], *groups.pop(other)]
    groups[other] = [runs[1]]
    assert differing_settings(groups)[0].rows == [("model.steps", "3 or 0", "3")]


def test_it_has_a_command_for_each_run(tmp_path):
    page = Reader(make_page(b"", [], groups_of(tmp_path, mher={})))
    commands = [line for text in page.texts for line in text.splitlines() if line.startswith("python")]
    assert commands == [
        f"python -m mher_pl fit --config '{tmp_path}/a folder/mher/{seed}/config.yaml'" for seed in range(2)
    ]


def test_names_are_text_and_no_markup(tmp_path):
    groups = {("<b>&", "<i>"): next(iter(groups_of(tmp_path, mher={"steps": 1}).values()))}
    groups["<b>&", "j"] = next(iter(groups_of(tmp_path, her={"steps": 2}).values()))
    page = Reader(make_page(b"", [], groups))
    assert page.tables[0][0] == ["setting", "<i>", "j"]
    assert "<b>&" in "".join(page.texts)
