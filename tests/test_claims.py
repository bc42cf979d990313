import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import claims

from tests.conftest import ROOT

CURVES = {
    ("t", "fast"): np.array([[0.5, 1.0], [0.6, 1.0], [0.7, 1.0]]),
    ("t", "slow"): np.array([[0.0, 0.5], [0.1, 0.5], [0.2, 0.5]]),
    ("t", "noisy"): np.array([[0.0, 0.3], [0.9, 1.0], [0.6, 1.0]]),
    ("t", "seldom"): np.array([[np.nan, 0.8], [np.nan, 0.9], [np.nan, 0.8]]),
    ("t", "two"): np.array([[0.0, 0.3], [0.9, 1.0]]),
}


def verdict(relation):
    return claims.judge(relation, "t", CURVES)[1]


def test_a_claim_holds_where_the_interval_lies_on_its_side():
    assert claims.judge("fast > slow", "t", CURVES)[0].startswith("fast - slow: +0.50 [+0.4")
    assert verdict("fast > slow") == "held"
    assert verdict("slow > fast") == "not held"
    assert verdict("fast > noisy") == "open"
    assert verdict("slow ~ fast") == "not held"
    assert verdict("slow ~ slow") == "held"
    assert verdict("noisy ~ fast") == "open"
    assert verdict("slow >~ slow") == verdict("fast >~ slow") == "held"
    assert verdict("slow >~ fast") == "not held"
    assert verdict("fast ends < 0.5") == "not held"
    assert verdict("slow ends < 0.5") == "held"
    assert verdict("noisy ends < 0.5") == "open"


def test_methods_are_compared_at_the_epochs_of_both_alone():
    assert claims.judge("seldom > slow", "t", CURVES)[0].startswith("seldom - slow: +0.33 [")


def test_what_has_fewer_than_three_seeds_is_not_measured():
    assert verdict("fast > two") == verdict("fast > none") == ""


def test_the_claims_are_those_of_the_curves():
    page = (ROOT / "docs" / "claims.md").read_text()
    found = claims.rows()
    assert page.split(claims.BEGIN)[1].split(claims.END)[0] == f"{claims.summary(found)}\n{claims.table(found)}"


def test_the_summary_counts_a_claim_by_all_its_tasks():
    verdicts = [("a", "held"), ("a", "held"), ("b", "held"), ("b", "open"), ("c", "open"), ("d", "1 held; 1 not held")]
    found = [(text, "", "", verdict) for text, verdict in verdicts]
    assert claims.summary(found) == "Of 4 claims 1 hold on all their tasks, 2 in part, 1 are open.\n"


def test_every_method_of_a_claim_is_in_a_figure():
    figures = claims.find_figures()
    for claim in claims.CLAIMS:
        for relation in claim.relations:
            assert all((task, name) in figures for task in claim.tasks for name in claims.methods_of(relation)), (
                claim.text
            )


def test_what_the_supervised_loss_alone_does_is_that_of_the_curves():
    page, curves = (ROOT / "docs" / "claims.md").read_text(), claims.read_curves()
    methods = {
        "`no_mbr`, alpha = 3": "no_mbr",
        "alpha = 1": "no_mbr-imitation_weight-1.0",
        "alpha = 0.3": "no_mbr-imitation_weight-0.3",
        "as that program": "no_mbr_as_program",
        "`no_sl`": "no_sl",
    }
    for name, method in methods.items():
        cells = []
        for task in ("point2d", "fetch"):
            rates = curves[task, method]
            assert len(rates) == 5
            cells += [np.median(own.mean(axis=1)) for own in (rates, rates[:, -5:])]
        assert f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |" in page
