"""A report of an ablation as a browser shows it. Needs Chromium."""

import io
import shutil
from dataclasses import replace
from itertools import combinations

import pytest
from PIL import Image

from tests.workbench.synthetic import made
from triptych.workbench.report import write

pytestmark = pytest.mark.external

LONG = "top_k=20, then top_p=0.9, then temperature=0.7, then something else again"
HOSTILE = "half <script>alert(1)</script><img src=http://127.0.0.1:9/x onerror=alert(2)>"
EFFECTS = {"base": 0.0, LONG: 0.0, "min_p": 0.2, HOSTILE: -0.3, "none": 0.0, "other": 0.01}
SPEEDS = {"base": 50, LONG: 47, "min_p": 50.2, HOSTILE: 80, "none": 49, "other": 50.1}
BOXES = """nodes => nodes.map(node => {
  const box = node.getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
})"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    results = made(EFFECTS, items=120, speeds=SPEEDS, failing={("none", 3)})
    runs = tuple(replace(run, text=HOSTILE) if run.arm == HOSTILE else run for run in results.runs)
    write(replace(results, runs=runs), folder)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "no Chromium: apt-get install chromium"
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Opens the page; what it said and asked for is in `noise`."""
    pages = []

    def opening(**settings):
        page = browser.new_page(**settings)
        pages.append(page)
        page.noise = []
        page.on("console", lambda message: page.noise.append(message.text))
        page.on("pageerror", lambda error: page.noise.append(str(error)))
        page.on("dialog", lambda dialog: page.noise.append(dialog.message))
        page.on(
            "request",
            lambda request: (
                None
                if request.url == address or request.url.startswith("data:")
                else page.noise.append(request.url)
            ),
        )
        page.goto(address)
        return page

    yield opening
    for page in pages:
        page.close()


def boxes(page, selector):
    return page.locator(selector).evaluate_all(BOXES)


def test_it_says_nothing_and_asks_for_nothing(opened):
    page = opened()
    page.locator("details").evaluate_all("nodes => nodes.forEach(node => { node.open = true })")
    page.screenshot(full_page=True)
    assert page.noise == []
    assert page.locator("script, img").count() == 0
    assert page.get_by_text("<script>alert(1)</script>").count() > 3


def test_plots_and_pictures_are_there_to_see(opened):
    page = opened(viewport={"width": 1200, "height": 900})
    plots = boxes(page, "figure svg")
    assert len(plots) == 4
    assert all(right - left > 600 and bottom - top > 100 for left, top, right, bottom in plots)
    pictures = boxes(page, "details[open] .picture")
    assert len(pictures) > 5
    sizes = {(round(right - left), round(bottom - top)) for left, top, right, bottom in pictures}
    assert sizes == {(144, 144)}
    drawn = Image.open(io.BytesIO(page.locator("details[open] .picture").first.screenshot()))
    panel = (244, 245, 247)
    assert drawn.convert("RGB").getpixel((72, 72)) != panel
    shot = Image.open(io.BytesIO(page.locator("figure svg").first.screenshot()))
    assert len(shot.convert("RGB").getcolors(maxcolors=1 << 20)) > 20


@pytest.mark.parametrize("figure", range(4))
def test_labels_do_not_overlap(opened, figure):
    page = opened(viewport={"width": 1200, "height": 900})
    texts = page.locator("figure svg").nth(figure).locator("text")
    labels = [
        (text, box)
        for text, box in zip(texts.all_text_contents(), texts.evaluate_all(BOXES), strict=True)
        if text.strip()
    ]
    assert len(labels) > 6
    hidden = [
        (one, other)
        for (one, a), (other, b) in combinations(labels, 2)
        if min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
    ]
    assert hidden == []


def test_it_is_dark_for_those_who_like_it_dark(opened):
    grounds = [
        opened(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds == ["rgb(253, 253, 254)", "rgb(22, 24, 27)"]
    page = opened(color_scheme="dark")
    ink = page.locator("figure svg text").first.evaluate("node => getComputedStyle(node).fill")
    assert min(int(shade) for shade in ink[4:-1].split(",")) > 140


def test_a_narrow_window_scrolls_only_down(opened):
    page = opened(viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
