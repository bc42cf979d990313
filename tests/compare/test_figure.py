from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from mher_pl.compare import figure as figures
from mher_pl.compare.figure import STYLES


def draw_curves(tasks, episodes=(100,)):
    return figures.draw_curves(tasks, episodes)


def curve(*seeds):
    rates = np.array(seeds, dtype=float)  # [seed, E]
    return list(range(1, rates.shape[1] + 1)), rates


def lines(panel):
    return {line.get_label(): line for line in panel.lines}


def test_the_line_is_the_median_and_the_shade_the_interquartile_range():
    figure = draw_curves({"A-v1": {"her": curve([0, 0.1], [0, 0.2], [1, 0.3], [1, 0.9], [1, 1.0])}})
    (panel,) = [panel for panel in figure.axes if panel.get_visible()]
    assert panel.get_title() == "A-v1"
    np.testing.assert_allclose(lines(panel)["her"].get_xydata(), [[1, 1.0], [2, 0.3]])
    corners = {(x, round(y, 3)) for x, y in panel.collections[0].get_paths()[0].vertices}
    assert corners == {(1, 0.0), (2, 0.2), (1, 1.0), (2, 0.9)}


def test_an_algorithm_looks_the_same_in_every_panel_and_figure():
    both = {"A-v1": {"mher": curve([0, 1]), "cher": curve([0, 1])}, "B-v1": {"cher": curve([0, 1])}}
    alone = draw_curves({"B-v1": {"cher": curve([0, 1])}})
    first, second = draw_curves(both).axes[:2]
    looks = {
        (to_hex(line.get_color()), line.get_linestyle())
        for line in (lines(p)["cher"] for p in (first, second, alone.axes[0]))
    }
    assert len(looks) == 1


def test_every_method_of_the_paper_has_its_own_look_and_a_place_in_the_legend():
    names = [*STYLES, "mine"]
    figure = draw_curves({"A-v1": {name: curve([0, 1]) for name in names}})
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[0].lines}
    assert len(looks) == len(names)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(names)


@pytest.mark.parametrize("tasks", [1, 2, 3, 4, 5, 7])
def test_there_is_one_visible_panel_a_task(tasks):
    figure = draw_curves({f"{number}-v1": {"mher": curve([0.5])} for number in range(tasks)})
    assert [panel.get_title() for panel in figure.axes if panel.get_visible()] == [f"{n}-v1" for n in range(tasks)]


def test_every_algorithm_that_comes_with_the_package_has_a_style():
    names = {path.stem for path in Path(__file__).parents[2].glob("configs/algorithms/*.yaml")}
    assert len(names) > 10
    assert names <= set(STYLES)


@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
def test_the_legend_of_all_methods_fits_into_the_figure(tasks):
    figure = draw_curves({f"{number}-v1": {name: curve([0, 1]) for name in STYLES} for number in range(tasks)})
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_the_figure_says_the_number_of_seeds_and_episodes():
    tasks = {"A-v1": {"mher": curve([0], [1], [1]), "her": curve([0], [1])}}
    (title,) = [legend.get_title().get_text() for legend in draw_curves(tasks).legends]
    assert title.startswith("Line: median over 2 to 3 seeds of the success rate in 100 episodes;")
    (title,) = [legend.get_title().get_text() for legend in draw_curves(tasks, [50, 100]).legends]
    assert "in 50 to 100 episodes" in title


def test_a_legend_of_long_names_fits_into_a_narrow_figure():
    names = [f"what it is without the part number {number}" for number in range(4)]
    figure = draw_curves({"A-v1": {name: curve([0, 1]) for name in names}})
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_more_curves_than_free_colours_are_told_apart():
    figure = draw_curves({"A-v1": {name: curve([0, 1]) for name in ("mher", "her", "gcsl", *"abcdefg")}})
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in figure.axes[0].lines}
    assert len(looks) == 10


def test_panels_with_curves_of_their_own_have_legends_of_their_own():
    panels = {
        "(a)": {f"alpha = {value}": curve([0, 1]) for value in range(5)},
        "(b)": {"mher": curve([0, 1])}
        | {f"{name}, {n} steps": curve([0, 1]) for name in ("mve", "mbpo") for n in (3, 7)},
    }
    figure = draw_curves(panels, [25])
    assert not figure.legends
    texts = [[text.get_text() for text in panel.get_legend().get_texts()] for panel in figure.axes]
    assert texts == [list(curves) for curves in panels.values()]
    lines = {line.get_label(): line for line in figure.axes[1].get_lines()}
    assert lines["mve, 3 steps"].get_color() == lines["mve, 7 steps"].get_color() == STYLES["mve"][0]
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in lines.values()}) == 5
    assert len({line.get_color() for line in figure.axes[0].get_lines()}) == 5


@pytest.mark.parametrize("more", [0, 8])  # one legend for all panels, and one for each
def test_a_name_that_matplotlib_would_hide_or_take_for_a_formula_is_shown_as_it_is(more):
    odd = {"_x": curve([0, 1]), "$x{$": curve([0, 1])}
    panels = {"$t{$": odd | {f"m{number}": curve([0, 1]) for number in range(more)}, "u": odd}
    figure = draw_curves(panels)
    figure.draw_without_rendering()
    legend = figure.legends[0] if more == 0 else figure.axes[0].get_legend()
    shown = [text._preprocess_math(text.get_text()) for text in (figure.axes[0].title, *legend.get_texts()[:2])]
    assert shown == [("$t{$", False), ("_x", False), ("$x{$", False)]
