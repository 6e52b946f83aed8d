# SPDX-License-Identifier: Apache-2.0
"""The page and the JSON of a diff: what a browser makes of the one, and what the schema
says to the other. Both come from tests/report/example_page, whose diffs are made by hand:
names that are markup or no text, missing values, up to 300 layers."""

import itertools
import json
import re
import subprocess

import browser
import jsonschema
import numpy as np
import pytest
from support import BUILD, DIGITS, ROOT, succeed

EXAMPLE = BUILD / "tests" / "report" / "example_page"
KINDS = ["full", "many", "one", "still", "float", "bare", "empty"]
SCHEMA = json.loads((ROOT / "src" / "report" / "diff.schema.json").read_text())
PHONE = 360

pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason=f"{EXAMPLE} is not built")


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Folder of a kind's page.html and diff.json."""
    made = {}

    def make(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            subprocess.run([EXAMPLE, kind, made[kind]], check=True, timeout=120)
        return made[kind]

    return make


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = browser.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def show(driver, example):
    """Opens a kind's page in a window of its own size, and expects the console to be empty
    in the end."""

    def load(kind, width=1280, scheme="light"):
        browser.resize(driver, width, 900, mobile=width < 600)
        browser.set_scheme(driver, scheme)
        driver.get((example(kind) / "page.html").as_uri())
        return driver

    yield load
    assert browser.errors(driver) == []
    assert driver.execute_script("return window.evil") is None


# ---- the JSON


# Of `many` the schema sees nothing that `full` has not.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "many"])
def test_json_follows_the_schema(kind, example):
    diff = json.loads((example(kind) / "diff.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(SCHEMA).validate(diff)


def objects(node):
    if isinstance(node, dict):
        if "properties" in node and isinstance(node["properties"], dict):
            yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


def test_schema_describes_everything():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    found = list(objects(SCHEMA))
    assert len(found) > 8
    for schema in found:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
        for name, item in schema["properties"].items():
            assert len(item.get("description", "")) > 5, name


@pytest.mark.parametrize("kind", ["full", "still", "float"])
def test_schema_notices_what_is_missing_or_too_much(kind, example):
    diff = json.loads((example(kind) / "diff.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for holder in (diff, diff["a"], diff["layers"][0], diff["layers"][0]["isolated"]):
        for name in list(holder):
            value = holder.pop(name)
            assert not validator.is_valid(diff), name
            holder[name] = value
        holder["more"] = 1
        assert not validator.is_valid(diff)
        del holder["more"]
    assert validator.is_valid(diff)


# ---- the table

ROWS = """
const table = document.getElementById(arguments[0]);
const keys = Array.from(table.tHead.rows[0].cells, (cell) => cell.dataset.k);
return Array.from(table.querySelectorAll("tbody > tr:not(.unfold)"), (row) => Object.fromEntries(
    Array.from(row.cells, (cell, i) => [keys[i], cell.classList.contains("n")
        ? cell.dataset.v ?? null : cell.textContent])));
"""
SORTED_BY = """
return Array.from(document.querySelectorAll("#" + arguments[0] + " thead th"))
    .filter((header) => header.getAttribute("aria-sort") !== "none")
    .map((header) => [header.dataset.k, header.getAttribute("aria-sort")]);
"""
CLICK = """
document.querySelector("#" + arguments[0] + " th[data-k=" + arguments[1] + "] button").click();
"""
NUMBERS = {"number", "bits", "isolated", "accumulated", "cosine", "weight_sqnr", "weights", "macs",
           "bytes_a", "bytes_b"}


def column(driver, key, table="layer-table"):
    return [row[key] for row in driver.execute_script(ROWS, table)]


def assert_sorted(values, ascending):
    """Numbers in order, what is missing last."""
    present = [float(value) for value in values if value is not None]
    assert values[len(present):] == [None] * (len(values) - len(present))
    assert present == sorted(present, reverse=not ascending)
    return len(present)


def test_headers_sort_the_rows_in_both_directions(show):
    driver = show("full")
    before = driver.execute_script(ROWS, "layer-table")
    assert set(before[0]) > NUMBERS
    missing = 0
    for key in before[0]:
        orders = ["ascending", "descending", "ascending"]
        if driver.execute_script(SORTED_BY, "layer-table") == [[key, "ascending"]]:
            orders.pop(0)
        for order in orders:
            driver.execute_script(CLICK, "layer-table", key)
            assert driver.execute_script(SORTED_BY, "layer-table") == [[key, order]]
            if key in NUMBERS:
                values = column(driver, key)
                missing += len(values) - assert_sorted(values, order == "ascending")
    assert missing > 0
    after = driver.execute_script(ROWS, "layer-table")
    key = lambda row: int(row["number"])  # noqa: E731
    assert sorted(after, key=key) == sorted(before, key=key)


def test_rows_are_those_of_the_json(show, example):
    driver = show("full")
    layers = json.loads((example("full") / "diff.json").read_text(encoding="utf-8"))["layers"]
    rows = driver.execute_script(ROWS, "layer-table")
    assert len(rows) == len(layers)
    for row, layer in zip(rows, layers):
        assert float(row["bytes_b"] or 0) == (layer["bytes_b"] if layer["other"] is not None else 0)
        for key in ("isolated", "accumulated"):
            want = float("inf") if layer[key]["exact"] else layer[key]["sqnr_db"]
            got = row[key] and float(row[key])
            assert got == want or got == pytest.approx(want, rel=1e-8)


def test_texts_sort_as_people_count(show):
    driver = show("still")
    driver.execute_script(CLICK, "layer-table", "type")
    types = column(driver, "type")
    assert types == sorted(types, key=lambda text: (text == "", text)) and types[-1] == ""
    driver.execute_script(CLICK, "tensor-table", "role")
    roles = column(driver, "role", "tensor-table")
    assert roles == sorted(roles) and len(set(roles)) == 2
    assert column(driver, "type") == types


def test_headers_work_by_keyboard(show):
    from selenium.webdriver.common.keys import Keys

    driver = show("full")
    button = driver.find_element("css selector", "#layer-table th[data-k=isolated] button")
    for key, order in ((Keys.ENTER, "ascending"), (Keys.SPACE, "descending")):
        button.send_keys(key)
        assert driver.execute_script(SORTED_BY, "layer-table") == [["isolated", order]]
        assert_sorted(column(driver, "isolated"), order == "ascending")


def test_filter_hides_layers(show):
    driver = show("many")
    field = driver.find_element("id", "filter")
    field.send_keys("LAYER2.1/conv2")
    shown = driver.execute_script(
        "return Array.from(document.querySelectorAll('#layer-table tbody:not([hidden])'))"
        ".map((block) => block.querySelector('th').textContent)")
    assert shown and all("layer2.1/conv2" in name for name in shown)
    panels = driver.execute_script(
        "return document.querySelectorAll('tbody:not([hidden]) details.layer').length")
    assert panels == len(shown)
    assert driver.find_element("css selector", ".filter output").text == f"{len(shown)} of 300"


def test_a_name_unfolds_its_row_and_folds_it_again(show):
    driver = show("full")
    link = driver.find_element("css selector", "#layer-table a[href='#layer-2']")
    row = driver.find_element("css selector", ".unfold:has(#layer-2)")
    seen = []
    for _ in range(3):
        seen.append((row.is_displayed(), link.get_attribute("aria-expanded")))
        link.click()
    assert seen == [(False, "false"), (True, "true"), (False, "false")]


def test_links_open_their_panel(show):
    driver = show("full")
    driver.find_element("css selector", "#strip a[href='#layer-7']").click()
    assert driver.execute_script("""
        return new Promise((done) => setTimeout(() => {
            const panel = document.getElementById("layer-7");
            done(panel.open && panel.getBoundingClientRect().top < innerHeight);
        }, 300));""")
    assert not driver.execute_script("return document.getElementById('layer-12').open")
    driver.execute_script("document.getElementById('layer-table').scrollIntoView()")
    driver.find_element("css selector", "#layer-table a[href='#layer-12']").click()
    assert driver.execute_script("""
        return new Promise((done) => setTimeout(() => {
            const panel = document.getElementById("layer-12");
            done(panel.open && panel.getBoundingClientRect().height > 100);
        }, 300));""")


def test_charts_name_the_layer_under_the_pointer(show):
    from selenium.webdriver.common.action_chains import ActionChains

    driver = show("full")
    area = driver.find_element("css selector", "figure[data-by-layer] .area")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    # Layer 28 of 54 is right of the middle.
    ActionChains(driver).move_to_element_with_offset(area, 3, 0).perform()
    text = driver.find_element("css selector", ".readout").text
    assert text.startswith("28 /layer3/layer3.1/conv1/Conv: ") and "isolated" in text


# ---- the decision


def text_of(driver, selector):
    return driver.find_element("css selector", selector).text


@pytest.mark.parametrize("kind, words, level", [
    ("full", "Do not ship:", "bad"), ("one", "Ready to ship:", "good"),
    ("still", "Not measured:", "unmeasured"), ("bare", "Not measured:", "unmeasured")])
def test_page_begins_with_its_verdict(kind, words, level, show, example):
    driver = show(kind)
    said = json.loads((example(kind) / "diff.json").read_text(encoding="utf-8"))["verdict"]
    first = text_of(driver, "main > :first-child > :first-child")
    assert first == f"{words} {said['reason']}." and said["level"] == level
    assert driver.find_element("css selector", f"#verdict.{level} p.verdict").is_displayed()
    assert "bound" not in text_of(driver, "#verdict").lower()


def test_limits_say_pass_or_fail(show):
    driver = show("full")
    lines = text_of(driver, ".gates").splitlines()
    assert [line.split()[0] for line in lines] == ["PASS", "FAIL"]
    assert "97.46 %, at least 95.00 %" in lines[0]
    assert re.search(r"2.00\sMB, at most 1.00\sMB", lines[1])


def test_costly_layers_say_what_a_step_up_costs_and_gains(show):
    driver = show("full")
    rows = driver.execute_script(
        "return Array.from(document.querySelectorAll('.costly tbody tr'),"
        " (row) => Array.from(row.cells, (cell) => cell.textContent))")
    assert len(rows) == 5
    shares = [int(share.split()[0]) for _, _, share, _ in rows]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0
    steps = {"int2": "int4", "int4": "int8", "int8": "float"}
    for _, kind, _, step in rows:
        assert re.fullmatch(rf"{steps[kind]}: \+[\d.]+\s?k?M?B, layer (\+\d+ dB|exact)", step)
    rules = text_of(driver, "#verdict pre")
    worth = max(1, sum(share >= 5 for share in shares))
    assert rules.count("--layer '") == worth
    assert re.search(r"A step up for .*: \+[\d.]+\s?k?M?B", text_of(driver, "#verdict"))


def test_bands_are_explained_to_the_end(show):
    notes = text_of(show("full"), "#verdict")
    assert "low from 10 dB (below 32 %), noise below." in " ".join(notes.split())


def apart(colour, other):
    """The distance of two colours for common eyes and for eyes without red or green cones
    (Vienot, Brettel, Mollon, "Digital video colourmaps for checking the legibility of displays by
    dichromats", 1999), in CIELAB; 2 is just seen."""
    without_red = [[.1124, .8876, 0], [.1124, .8876, 0], [.0040, -.0040, 1]]
    without_green = [[.2928, .7072, 0], [.2928, .7072, 0], [-.0223, .0223, 1]]
    to_xyz = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]])

    def lab(rgb, eyes):
        linear = eyes @ np.where(rgb <= .04045, rgb / 12.92, ((rgb + .055) / 1.055) ** 2.4)
        x, y, z = np.cbrt(to_xyz @ linear / to_xyz.sum(1))
        return np.array([116 * y, 500 * (x - y), 200 * (y - z)])

    both = [np.frombuffer(bytes.fromhex(text), np.uint8) / 255 for text in (colour, other)]
    return min(np.linalg.norm(lab(both[0], np.array(eyes)) - lab(both[1], np.array(eyes)))
               for eyes in (np.eye(3), without_red, without_green))


def test_bands_have_colours_that_all_can_tell_apart():
    style = (ROOT / "src" / "report" / "page.css").read_text()
    schemes = style.split("prefers-color-scheme: dark", 1)
    for scheme in schemes:
        colours = re.findall(r"--(exact|high|fair|low|noise|unknown): #([0-9a-f]{6})", scheme)
        assert len(colours) == 6
        for (band, colour), (other, its) in itertools.combinations(colours, 2):
            assert apart(colour, its) > 15, (band, other)


def test_six_columns_are_shown_and_the_others_by_choice(show):
    driver = show("full")
    shown = ("return Array.from(document.querySelectorAll('#layer-table thead th'))"
             ".filter((cell) => cell.offsetWidth > 0).map((cell) => cell.dataset.k)")
    six = ["number", "node", "type", "bytes_b", "isolated", "share"]
    assert driver.execute_script(shown) == six
    assert driver.execute_script(
        "const box = document.querySelector('#layers .scroll');"
        "return box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight")
    choice = driver.find_element("css selector", "#layers .columns")
    choice.find_element("css selector", "summary").click()
    choice.find_element("css selector", "input[value=macs]").click()
    assert driver.execute_script(shown) == [*six, "macs"]
    choice.find_element("css selector", "input[value=macs]").click()
    assert driver.execute_script(shown) == six


UNSIGNED = """
return Array.from(document.querySelectorAll(".scroll")).filter((box) => {
    const right = box.scrollWidth - box.clientWidth > 2;
    const below = box.scrollHeight - box.clientHeight > 2;
    const sign = box.parentElement.dataset.more ?? "";
    return right !== sign.includes("\u2192") || below !== sign.includes("\u2193");
}).length;
"""


@pytest.mark.parametrize("width", [1280, PHONE])
def test_nothing_is_hidden_without_a_sign(width, show):
    driver = show("full", width)
    assert driver.execute_script(UNSIGNED) == 0
    assert driver.execute_script("return document.querySelectorAll('[data-more]').length") > 0
    assert driver.execute_script(
        "return Array.from(document.querySelectorAll('.strip a')).every((box) =>"
        " box.getBoundingClientRect().right <= innerWidth)")


def test_graph_has_a_box_for_each_layer_in_its_colour(show, example):
    driver = show("full")
    layers = json.loads((example("full") / "diff.json").read_text(encoding="utf-8"))["layers"]

    def band(layer):
        value = layer["isolated"]["sqnr_db"]
        if layer["isolated"]["exact"]:
            return "exact"
        return ("unknown" if value is None else "high" if value >= 30 else "fair" if value >= 20
                else "low" if value >= 10 else "noise")

    boxes = driver.execute_script(
        "return Array.from(document.querySelectorAll('.strip a'), (a) => [a.className,"
        " a.querySelectorAll('.quantizer').length, getComputedStyle(a.querySelector('.box')).fill])")
    assert [name for name, *_ in boxes] == [band(layer) for layer in layers]
    assert [count for _, count, _ in boxes] == [int(x["input_tensor"] is not None) for x in layers]
    assert len({fill for *_, fill in boxes}) == len({name for name, *_ in boxes}) > 2


def test_a_printed_page_should_cut_nothing(show):
    """718 pixels are what A4 leaves between its margins."""
    driver = show("full", width=718)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    width = driver.execute_script("return document.documentElement.scrollWidth")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert width <= 718


def test_samples_with_another_answer_are_shown(show):
    driver = show("full")
    assert "13" in text_of(driver, "#samples h2") and "first 2" in text_of(driver, "#samples .lead")
    items = driver.execute_script(
        "return Array.from(document.querySelectorAll('.samples li'), (item) =>"
        " [item.textContent, item.querySelectorAll('img').length])")
    assert items == [["281 \u2192 282 cat/<7>.png", 1], ["0.25, \u22123 \u20261 \u2192 7 x.npy[3]", 0]]


def test_reproduction_can_be_copied(show):
    driver = show("full")
    block = text_of(driver, "#reproduction")
    assert block.startswith("ldnq quantize 'models/resnet <50>.onnx'") and "# seed: 3" in block
    button = driver.find_element("css selector", "#reproduce .copy")
    button.click()
    assert button.text in ("Copied", "Press Ctrl+C")
    assert driver.execute_script("return getSelection().toString()").strip() == block.strip()


def test_names_break_after_slashes(show, example):
    show("full")
    text = (example("full") / "page.html").read_text(encoding="utf-8")
    names = re.findall(r"<code>(/<wbr>layer1/.*?)</code>", text)
    assert names and all(re.fullmatch(r"(?:[^/<]|/<wbr>)+", name) for name in names)


@pytest.mark.parametrize("width", [1280, PHONE])
def test_candidates_are_a_table_and_dots(width, driver, tmp_path):
    floats = DIGITS / "digits-ts.onnx"
    files = []
    for weights in ("int8", "int2"):
        files.append(tmp_path / f"{weights}.onnx")
        succeed("quantize", floats, "-o", files[-1], "--calib", "none", "--target", "weights",
                "--solver", "rtn", "--weights", weights)
    page = tmp_path / "page.html"
    succeed("diff", floats, *files, "--data", DIGITS / "eval", "--html", page, "-q")
    browser.resize(driver, width, 900, mobile=width < 600)
    driver.get(page.as_uri())
    rows = driver.execute_script(
        "return Array.from(document.querySelectorAll('#candidates tbody tr'),"
        " (row) => Array.from(row.cells, (cell) => cell.textContent))")
    assert [row[1] for row in rows] == [str(file) for file in files]
    dots = driver.execute_script(
        "return Array.from(document.querySelectorAll('.scatter g'), (dot) => {"
        " const box = dot.querySelector('circle').getBoundingClientRect();"
        " return [dot.textContent, box.left, box.top, box.right]; })")
    assert [dot[0] for dot in dots] == ["1", "2"]
    (_, left, top, right), (_, other_left, other_top, _) = dots
    assert left > other_left and top < other_top and right < width  # larger and better
    assert driver.execute_script("return document.scrollingElement.scrollWidth") <= width
    assert browser.errors(driver) == []


def test_a_budget_shows_what_others_would_keep(tmp_path):
    page = tmp_path / "page.html"
    succeed("quantize", DIGITS / "digits-ts.onnx", "-o", tmp_path / "q.onnx", "--calib",
            DIGITS / "calib", "--target", "weights", "--solver", "rtn", "--weights",
            "int2,int4,int8", "--budget", "3bits", "--report", page)
    text = page.read_text(encoding="utf-8")
    assert "What other budgets would keep" in text
    assert re.search(r"of 17 budgets: SQNR in dB, predicted over the size of the weights; "
                     r"the chosen one has \d+\.\d+\.", text)
    assert "class=\"gates\"" not in text  # a budget is no limit of accuracy


# ---- pictures

PICTURES = """
const done = arguments[arguments.length - 1];
document.querySelectorAll("details").forEach((panel) => { panel.open = true; });
document.querySelectorAll(".unfold").forEach((row) => { row.classList.add("open"); });
async function look(image) {
    image.loading = "eager";
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = new Uint32Array(
        context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    return {
        alt: image.alt, width: image.naturalWidth, shown: image.getBoundingClientRect().width,
        colours: new Set(pixels).size, clear: pixels.filter((pixel) => pixel === 0).length,
        pixels: pixels.length,
    };
}
(async () => {
    const found = [];
    for (const image of document.images) {
        found.push(await look(image));
    }
    done(found);
})().catch((error) => done(String(error)));
"""


@pytest.mark.parametrize("kind, width, count", [
    ("full", 1280, 1 + 4 + 4 * 50), ("one", PHONE, 7), ("float", 1280, 2)])
def test_pictures_are_drawn(kind, width, count, show):
    pictures = show(kind, width).execute_async_script(PICTURES)
    assert len(pictures) == count, pictures
    for picture in pictures:
        if "/<7>.png" in picture["alt"]:  # a sample, which fills its picture
            assert (picture["width"], picture["clear"]) == (16, 0) and picture["colours"] > 3
            continue
        assert picture["width"] >= 256 and picture["shown"] > 100, picture
        assert picture["colours"] > 3 and picture["alt"].strip(), picture
        # Its background is the page's.
        assert picture["clear"] > picture["pixels"] / 10, picture


def test_phones_get_pictures_of_their_own(show):
    script = "return Array.from(document.querySelectorAll('picture img'), (i) => i.naturalWidth)"
    decode = """
        const done = arguments[arguments.length - 1];
        const images = Array.from(document.querySelectorAll("picture img"));
        images.forEach((image) => { image.loading = "eager"; });
        Promise.all(images.map((image) => image.decode())).then(() => done(true));"""
    widths = {}
    for width in (1280, PHONE):
        driver = show("full", width)
        driver.execute_async_script(decode)
        widths[width] = driver.execute_script(script)
    assert all(wide > narrow > 0 for wide, narrow in zip(widths[1280], widths[PHONE]))


# ---- for whom it is read


@pytest.mark.parametrize("kind", KINDS)
def test_page_fits_a_phone(kind, show):
    driver = show(kind, PHONE)
    if kind != "many":
        driver.execute_script(
            "document.querySelectorAll('details').forEach((panel) => { panel.open = true; })")
    width, inner = driver.execute_script(
        "return [document.scrollingElement.scrollWidth, innerWidth]")
    assert inner == PHONE and width <= inner


CONTRAST = """
const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
function background(element) {
    for (; element; element = element.parentElement) {
        const colour = parse(getComputedStyle(element).backgroundColor);
        if (colour.length === 3) {
            return colour;
        }
        if (colour[3] !== 0) {
            throw new Error("a translucent background");
        }
    }
    throw new Error("no background");
}
document.querySelectorAll("details").forEach((panel) => { panel.open = true; });
document.querySelectorAll(".unfold").forEach((row) => { row.classList.add("open"); });
const worst = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility() ||
        ["SCRIPT", "STYLE"].includes(element.tagName)) {
        continue;
    }
    seen++;
    const pair = [light(parse(getComputedStyle(element).color)), light(background(element))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) {
        worst.push([ratio, element.tagName, element.className, texts.currentNode.data]);
    }
}
return [seen, worst.slice(0, 5), light(background(document.body))];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(scheme, show):
    driver = show("one", scheme=scheme)
    seen, weak, paper = driver.execute_script(CONTRAST)
    assert seen > 100 and weak == []
    assert paper > 0.9 if scheme == "light" else paper < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_page_needs_nothing_else(kind, show, example):
    driver = show(kind)
    text = (example(kind) / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href|srcset)=["'](?!data:|#)""", text)
    assert len(text) < 5_000_000
    assert driver.execute_script("return performance.getEntriesByType('resource')"
                                 ".filter((entry) => !entry.name.startsWith('data:')).length") == 0
    ids = driver.execute_script(
        "return Array.from(document.querySelectorAll('[id]'), (element) => element.id)")
    assert len(ids) == len(set(ids))
    targets = driver.execute_script(
        "return Array.from(document.querySelectorAll('a[href]'), (a) => a.getAttribute('href'))")
    assert {target.removeprefix("#") for target in targets} <= set(ids)


def test_names_are_shown_as_they_are(show):
    driver = show("full")
    names = driver.execute_script(
        "return Array.from(document.querySelectorAll('#layer-table tbody th'), "
        "(cell) => cell.textContent)")
    for name in ("<script>window.evil = 1</script>", "a\" onmouseover=\"window.evil = 1",
                 "it's & <b>bold</b>", "line\u240afeed\u2409tab\u2401\u2421",
                 "broken \ufffd\ufffd\ufffd utf-8", "turned \ufffd txt.exe",
                 "\u5c42/\u00e9tage/\u05e9\u05db\u05d1\u05d4"):
        assert name in names
