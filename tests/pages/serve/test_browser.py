"""The search page in a real browser: drop, scrub, search, play, filter, reload, on a phone too."""

import base64
import re
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("playwright", reason="needs playwright, of the extra dev")

from playwright.sync_api import expect, sync_playwright

from vidssl_cli.media.probe import probe
from vidssl_cli.pages.serve.run import Place, serving
from vidssl_cli.search.build import build_index

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed"),
]


@pytest.fixture(scope="module")
def address(world):
    with serving(world.index, Place(port=0), device="cpu") as address:
        yield address.rstrip("/")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # A sandbox inside a container needs rights that tests have not.
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(browser, address, path="/", *, width=1280, height=900, complaints=0, **more):
    """Give a page, and check at its end that nothing was asked of others and nothing went wrong."""
    context = browser.new_context(viewport={"width": width, "height": height}, **more)
    page = context.new_page()
    page.set_default_timeout(20_000)
    requests, problems = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda told: told.type == "error" and problems.append(told.text))
    page.on("dialog", lambda dialog: problems.append("a dialog"))
    page.goto(address + path)
    page.wait_for_selector(".hit, .message:not([hidden])")
    yield page
    assert len(problems) <= complaints, problems
    assert all(url.startswith((f"{address}/", "data:", "blob:")) for url in requests), requests
    context.close()


def drop(page, path, name="dropped.mp4"):
    """Drop a file onto the page, as a file manager does."""
    content = base64.b64encode(Path(path).read_bytes()).decode()
    page.evaluate(
        """([content, name]) => {
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type: "video/mp4" }));
            for (const kind of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(
                    new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
        }""",
        [content, name],
    )


def names(page):
    return page.locator(".hit .file, .hit .line b").all_inner_texts()


def drag(page, start, end):
    """Drag across the pictures of the opened video, from one share of its length to another."""
    box = page.locator("#strip").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    for step in (0.3, 0.7, 1):
        page.mouse.move(box["x"] + (start + step * (end - start)) * box["width"], y)
    page.mouse.up()


def until(page, condition):
    # Not `wait_for_function`, which evaluates text in the page: the page's policy forbids that.
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(30)


def test_a_video_is_dropped_and_found_and_a_moment_of_it_scrubbed_to(browser, address, world):
    with opened(browser, address) as page:
        expect(page.locator("#title")).to_have_text("Gallery")
        expect(page.locator(".hit")).to_have_count(12)
        drop(page, world.toy, "<b>my video.mp4")
        expect(page.locator("#title")).to_have_text("Similar to <b>my video.mp4")
        expect(page.locator(".hit").first).to_contain_text("0.mp4")
        expect(page.locator(".hit .faint").first).to_have_text("1.000")
        expect(page.locator("#frames img")).to_have_count(10)
        until(page, "document.querySelector('#screen video')?.readyState >= 2")

        drag(page, 0.25, 0.75)
        until(page, "location.search.includes('to=')")
        start, end = map(float, re.search(r"from=([\d.]+)&to=([\d.]+)", page.url).groups())
        assert (start, end) == (pytest.approx(0.4, abs=0.05), pytest.approx(1.2, abs=0.05))
        expect(page.locator('[data-level="moment"]')).to_have_attribute("aria-pressed", "true")
        expect(page.locator("#status")).to_contain_text("seconds 0.4 to")
        expect(page.locator(".hit").filter(has_text="0.mp4").first).to_be_visible()
        page.keyboard.press("w")
        until(page, "!location.search.includes('to=')")
        expect(page.locator("#range")).to_be_hidden()


def test_a_handle_is_moved_by_keys_and_by_the_pointer(browser, address):
    with opened(browser, address) as page:
        page.locator(".hit").first.get_by_text("More like this").click()
        expect(page.locator("#frames img")).to_have_count(10)
        drag(page, 0.2, 0.6)
        until(page, "location.search.includes('to=')")
        before = page.url
        page.locator("#end").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_url(lambda url: url != before)
        before = page.url
        box = page.locator("#start").bounding_box()
        page.mouse.move(box["x"] + 3, box["y"] + 10)
        page.mouse.down()
        page.mouse.move(box["x"] + 40, box["y"] + 10)
        page.mouse.up()
        page.wait_for_url(lambda url: url != before)


def test_hits_play_in_place(browser, address, world):
    path = f"/?video={quote(world.toy)}&level=moment&from=0.2&to=0.9"
    with opened(browser, address, path) as page:
        hit = page.locator(".hit").nth(1)
        hit.locator(".picture").click()
        until(page, "document.querySelectorAll('.hit')[1].querySelector('video')?.currentTime > 0")
        video = "document.querySelectorAll('.hit')[1].querySelector('video')"
        assert page.evaluate(f"{video}.currentSrc").startswith(f"{address}/media?video=")
        assert page.evaluate(f"{video}.muted")
        hit.locator(".picture").click()
        expect(hit.locator("video")).to_have_count(0)


def test_what_the_browser_does_not_play_is_transcoded_and_what_is_gone_is_said(
    browser, address, world
):
    with opened(browser, address, f"/?folder={quote(world.folder.as_posix())}/b") as page:
        expect(page.locator(".hit")).to_have_count(2)
        old = page.locator(".hit", has_text="old.avi")
        old.locator(".picture").click()
        until(page, "document.querySelector('.hit video')?.currentTime > 0")
        expect(old.locator(".way")).to_have_text("transcoded, without sound")
        expect(old.locator(".way")).to_have_attribute("title", re.compile("do not play AVI"))
        expect(page.locator(".hit", has_text="gone.mp4")).to_contain_text("The file is not there")


def test_a_browser_without_the_codec_shows_moving_pictures(browser, address, world):
    with opened(browser, address, complaints=9) as page:
        page.route(re.compile("/(media|part)[?]"), lambda route: route.fulfill(body=b"no video"))
        hit = page.locator(".hit").first
        hit.locator(".picture").click()
        expect(hit.locator(".way")).to_have_text(re.compile("^moving pictures: this browser"))
        until(page, "document.querySelectorAll('.hit img')[1]?.naturalWidth > 0")


def test_what_is_added_to_the_index_is_offered(browser, toy_encoder, toy_videos, tmp_path):
    build_index(toy_encoder(), toy_videos[:3], tmp_path / "index")
    with (
        serving(tmp_path / "index", Place(port=0), device="cpu") as address,
        opened(browser, address.rstrip("/")) as page,
    ):
        expect(page.locator("#counts")).to_contain_text("3 videos")
        build_index(toy_encoder(), toy_videos[3:5], tmp_path / "index")
        page.wait_for_timeout(1100)  # so often it looks
        page.evaluate("watch()")
        expect(page.locator("#toast")).to_contain_text("2 new videos in the index")
        page.locator("#toast button").click()
        expect(page.locator(".hit")).to_have_count(5)


def test_what_is_no_video_is_explained(browser, address, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with opened(browser, address, complaints=1) as page:
        drop(page, tmp_path / "text.mp4", "text.mp4")
        expect(page.locator(".message")).to_contain_text("text.mp4: is damaged, or no video")
        expect(page.locator("#drop")).to_contain_text("Drop a video here")


def test_more_like_this_and_back(browser, address):
    with opened(browser, address) as page:
        page.locator(".hit", has_text="5.mp4").get_by_text("More like this").click()
        expect(page.locator("#title")).to_have_text("Similar to 5.mp4")
        expect(page.locator(".rank").first).to_have_text("1")
        assert "5.mp4" not in names(page)
        first = page.locator(".hit .file").first.inner_text()
        page.locator(".hit").first.get_by_text("More like this").click()
        expect(page.locator("#title")).to_have_text(f"Similar to {first}")
        page.go_back()
        expect(page.locator("#title")).to_have_text("Similar to 5.mp4")
        page.go_back()
        expect(page.locator("#title")).to_have_text("Gallery")
        expect(page.locator("#drop")).to_be_visible()


def test_filters_are_in_the_address_and_survive_a_reload(browser, address):
    with opened(browser, address) as page:
        page.locator("#filter-button").click()
        page.locator("#label").select_option("class 1")
        expect(page.locator(".hit")).to_have_count(3)
        page.locator("#longest").fill("1.7")
        page.locator("#longest").blur()
        page.locator("#where").fill("fps = 25")
        page.locator("#where").press("Enter")
        page.locator(".hit").first.get_by_text("More like this").click()
        expect(page.locator(".hit")).to_have_count(2)
        page.locator('[data-level="moment"]').click()
        until(page, "location.search.includes('level=moment')")
        expect(page.locator('[data-level="moment"]')).to_have_attribute("aria-pressed", "true")
        shown, url = names(page), page.url
        page.reload()
        page.wait_for_selector(".rank")
        assert (names(page), page.url) == (shown, url)
        expect(page.locator("#label")).to_have_value("class 1")
        expect(page.locator("#where")).to_have_value("fps = 25")
        expect(page.locator("#command code")).to_contain_text("--level moment")
        page.locator(".chips button", has_text="class 1").click()
        until(page, "document.querySelectorAll('.hit').length > 6")


def test_a_wrong_filter_is_explained(browser, address):
    with opened(browser, address, "/?where=nonsense(", complaints=1) as page:
        expect(page.locator(".message")).to_contain_text("SQLite cannot evaluate")
        page.locator("#where").fill("")
        page.locator("#where").press("Enter")
        expect(page.locator(".hit")).to_have_count(12)
        expect(page.locator(".message")).to_be_hidden()


def test_a_lasso_on_the_map_leaves_what_is_inside(browser, address):
    with opened(browser, address) as page:
        until(page, "map.count === 12")
        box = page.locator("#map").bounding_box()
        left, top, width, height = (box[key] for key in ("x", "y", "width", "height"))
        page.mouse.move(left + 1, top + 1)
        page.mouse.down()
        for x, y in ((0.5, 0.01), (0.5, 0.99), (0.01, 0.99)):
            page.mouse.move(left + x * width, top + y * height, steps=4)
        page.mouse.up()
        until(page, "location.search.includes('lasso=')")
        inside = page.evaluate("[...map.x].filter((x) => x < 65535 * (0.5 - 0.04) / 0.92).length")
        assert 0 < inside < 12
        expect(page.locator(".hit")).to_have_count(inside)
        page.reload()
        expect(page.locator(".hit")).to_have_count(inside)
        page.locator(".chips button").click()
        expect(page.locator(".hit")).to_have_count(12)
        x, y = page.evaluate("[map.toX(map.x[4] / 65535), map.toY(map.y[4] / 65535)]")
        page.mouse.move(left + x, top + y)
        expect(page.locator("#card")).to_be_visible()
        page.mouse.click(left + x, top + y)
        until(page, "location.search.includes('video=')")


def test_the_keyboard_does_it_all(browser, address):
    with opened(browser, address) as page:
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        until(page, "document.activeElement.closest('.hit')?.dataset.place === '1'")
        page.keyboard.press("ArrowDown")
        until(page, "document.activeElement.closest('.hit')?.dataset.place > 1")
        page.keyboard.press("Enter")
        until(page, "document.activeElement.querySelector('video')?.currentTime > 0")
        page.keyboard.press("m")
        until(page, "location.search.includes('video=') && document.querySelector('.rank')")
        until(page, "document.querySelector('#screen video')?.readyState >= 2")
        page.keyboard.press("Space")
        until(page, "!document.querySelector('#screen video').paused")
        page.keyboard.press(".")
        until(page, "document.querySelector('#screen video').paused")
        for _ in range(12):
            page.keyboard.press(".")
        page.keyboard.press("]")
        until(page, "location.search.includes('to=')")
        page.keyboard.press("Escape")
        until(page, "location.search === ''")
        page.keyboard.press("/")
        page.keyboard.type("caf")
        expect(page.locator(".hit")).to_have_count(1)
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()


def test_names_that_act_are_shown(browser, address, world):
    with opened(browser, address) as page:
        hostile = page.locator(".hit", has_text="onerror=alert(1)")
        hostile.get_by_text("More like this").click()
        expect(page.locator("#title")).to_contain_text("<img src=x onerror=alert(1)>")
        page.reload()
        expect(page.locator("#title")).to_contain_text("<img src=x onerror=alert(1)>")
        assert page.locator("[onerror]").count() == 0
        page.go_back()
        latin = page.locator(".hit", has_text="caf\\udce9 & co.mp4")
        latin.get_by_text("More like this").click()
        expect(page.locator("#title")).to_contain_text("caf\\udce9 & co.mp4")
        until(page, "document.querySelector('#screen video')?.readyState >= 2")
        assert "caf%E9" in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_all_of_it_without_scrolling_sideways(browser, address, world, scheme):
    path = f"/?video={quote(world.toy)}"
    phone = {"width": 390, "height": 844, "has_touch": True, "color_scheme": scheme}
    with opened(browser, address, path, **phone) as page:
        wide = "document.documentElement.scrollWidth <= innerWidth"
        assert page.evaluate(wide)
        page.locator(".hit .picture").first.tap()
        until(page, "document.querySelector('.hit video')?.currentTime > 0")
        page.locator("#filter-button").tap()
        expect(page.locator("#label")).to_be_visible()
        page.locator("#map-button").tap()
        expect(page.locator("#map")).to_be_visible()
        assert page.evaluate(wide)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 380) == (scheme == "dark")


def test_copies_are_shown_in_groups(browser, toy_encoder, toy_videos, tmp_path):
    for number in range(2):
        shutil.copy(toy_videos[0].path, tmp_path / f"copy {number}.mp4")
    copies = [probe(str(path)) for path in sorted(tmp_path.glob("*.mp4"))]
    build_index(toy_encoder(), [*toy_videos[:4], *copies], tmp_path / "index")
    with (
        serving(tmp_path / "index", Place(port=0), device="cpu") as address,
        opened(browser, address.rstrip("/")) as page,
    ):
        page.locator("#copies-button").click()
        expect(page.locator("#title")).to_have_text("Copies")
        expect(page.locator("#status")).to_contain_text("1 group, 2 copies of")
        expect(page.locator(".hit .rank")).to_have_text(["1 keep", "1 copy", "1 copy"])
        assert "copies=1" in page.url
        page.reload()
        expect(page.locator(".hit")).to_have_count(3)
        page.locator(".hit").nth(1).get_by_text("More like this").click()
        expect(page.locator("#title")).to_contain_text("Similar to")
        page.go_back()
        page.locator("#copies-button").click()
        expect(page.locator("#title")).to_have_text("Gallery")
        expect(page.locator(".hit")).to_have_count(6)


def test_another_site_cannot_ask(browser, address, tmp_path):
    page_of_others = tmp_path / "evil.html"
    page_of_others.write_text(
        f"<img src='{address}/still?item=0'><script>"
        f"fetch('{address}/api/index').then(() => document.title = 'read', () => 0);"
        f"fetch('{address}/api/uploads?name=x', {{method: 'POST', mode: 'no-cors', body: 'x'}});"
        "</script>"
    )
    context = browser.new_context()
    page = context.new_page()
    answers = []
    page.on("response", lambda response: answers.append(response))
    page.goto(page_of_others.as_uri())
    page.wait_for_timeout(1000)
    assert page.title() != "read"
    assert not page.evaluate("document.images[0].naturalWidth")
    refused = [response.status for response in answers if response.url.startswith(address)]
    assert set(refused) <= {403}
    context.close()
