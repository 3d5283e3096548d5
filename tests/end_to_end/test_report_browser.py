"""The report in a real browser: it opens offline without a complaint, plays, and can be operated.

Needs Chromium and its driver (Debian: ``apt-get install chromium chromium-driver``) and the package selenium.
"""

import shutil
import time

import numpy as np
import pytest
from run_factory import NASTY, make_experiment

from crnn_weak.audio import write_audio
from crnn_weak.labels.events import Event
from crnn_weak.report.clips import ClipOptions
from crnn_weak.report.folder import RecordingResult, write_folder_report
from crnn_weak.report.page import write_report

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip("Chromium or its driver is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Two pages of an experiment with labels that would be scripts: sound within, and sound beside."""
    path = make_experiment(tmp_path_factory.mktemp("browser"), classes=NASTY, settings=((1.0, 1.0),), model=True)
    within = write_report(path, options=ClipOptions(n_clips=1, audio_folders=(path.parent,)))
    beside = write_report(
        path,
        out=path / "b.html",
        options=ClipOptions(n_clips=1, audio_folders=(path.parent,), embed=False, saliency=False),
    )
    return {"within": within, "beside": beside}


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--mute-audio",
        "--force-prefers-reduced-motion",  # no smooth scrolling while the pointer aims
        "--autoplay-policy=no-user-gesture-required",
        # Every address that is not a file fails: the page is seen as it is without a network.
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, pages):
    browser.get(pages["within"].as_uri())
    browser.get_log("browser")
    return browser


def wait_for(condition, seconds=20.0):
    """Wait until a condition holds; a slow machine takes its time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def find(browser, selector):
    return browser.find_element("css selector", selector)


def press(browser, key):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(key).perform()


def cursor(browser):
    return float(browser.execute_script("return parseFloat(document.querySelector('.cursor').style.left) || 0"))


def test_it_opens_without_a_complaint_and_asks_for_nothing(browser, pages):
    import json

    browser.get_log("performance")
    browser.get(pages["within"].as_uri())
    assert browser.get_log("browser") == []
    requests = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"] for message in requests if message["method"] == "Network.requestWillBeSent"
    ]
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert "script" in browser.execute_script(
        "return document.querySelector('.lane .gutter, h3').ownerDocument.body.innerText"
    )
    with pytest.raises(Exception, match="no such alert"):
        _ = browser.switch_to.alert.text


@pytest.mark.parametrize("which", ["within", "beside"])
def test_the_player_plays_and_the_cursor_moves(browser, pages, which):
    browser.get(pages[which].as_uri())
    assert cursor(browser) == 0.0
    find(browser, ".play").click()
    wait_for(lambda: cursor(browser) > 5.0)
    assert "Pause" in find(browser, ".play").get_attribute("aria-label")
    find(browser, ".play").click()
    wait_for(lambda: browser.execute_script("return document.querySelector('audio').paused"))
    assert browser.get_log("browser") == []


def test_one_clip_plays_at_a_time(page):
    first, second = page.find_elements("css selector", ".play")[:2]
    first.click()
    second.click()
    wait_for(
        lambda: page.execute_script("return [...document.querySelectorAll('audio')].filter(a => !a.paused).length") <= 1
    )


def test_it_is_operated_by_keys(page):
    from selenium.webdriver.common.keys import Keys

    slider = find(page, ".slider")
    page.execute_script("arguments[0].focus()", slider)
    press(page, Keys.ARROW_RIGHT)
    assert cursor(page) == pytest.approx(25.0)  # half a second of two
    assert slider.get_attribute("aria-valuetext") == "0.5 of 2.0 seconds"
    press(page, Keys.END)
    assert cursor(page) == pytest.approx(100.0)
    press(page, Keys.HOME)
    assert cursor(page) == 0.0
    press(page, " ")
    wait_for(lambda: cursor(page) > 2.0)
    press(page, " ")
    press(page, "s")
    assert len(page.find_elements("css selector", "#clip-1 .overlay.strong:not([hidden])")) == 1
    press(page, "j")
    assert page.execute_script("return document.activeElement.closest('.clip').id") == "clip-2"


def test_the_first_tab_stop_skips_to_the_results(page):
    from selenium.webdriver.common.keys import Keys

    press(page, Keys.TAB)
    assert page.execute_script("return document.activeElement.className") == "skip"
    press(page, Keys.ENTER)
    assert page.execute_script("return document.activeElement.id") == "main"


def test_the_pointer_moves_the_cursor(page):
    from selenium.webdriver.common.action_chains import ActionChains

    slider = find(page, ".slider")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    ActionChains(page).move_to_element(slider).click().perform()
    wait_for(lambda: abs(cursor(page) - 50.0) < 2.0)


def test_the_overlays_switch(page):
    def shown(output):
        return len(page.find_elements("css selector", f"#clip-1 .overlay.{output}:not([hidden])"))

    strong = find(page, "#clip-1 [data-output=strong]")
    assert (shown("strong"), shown("weak")) == (0, 0)
    page.execute_script("arguments[0].click()", strong)
    assert (shown("strong"), shown("weak")) == (1, 0)
    assert strong.get_attribute("aria-pressed") == "true"
    page.execute_script("document.querySelector('[data-all=weak]').click()")
    assert (shown("strong"), shown("weak")) == (1, 1)
    page.execute_script("arguments[0].click()", strong)
    assert (shown("strong"), shown("weak")) == (0, 1)
    loaded = "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
    assert page.execute_script(loaded)


def test_the_color_scheme_follows_the_system_and_the_button(page):
    def paper():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    page.execute_script("localStorage.clear()")
    emulate = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", emulate)
    page.refresh()
    dark = paper()
    find(page, "#theme").click()
    light = paper()
    assert dark != light
    find(page, "#theme").click()
    assert paper() == dark
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert paper() == dark  # chosen by hand
    page.execute_script("localStorage.clear()")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_makes_the_page_scroll_sideways(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
        hidden = (
            "return [...document.querySelectorAll('.scroll')]"
            ".filter(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0).length"
        )
        assert page.execute_script(hidden) == 0  # what scrolls can be reached by keys
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# --- the page over a folder ----------------------------------------------------------------------------------------


@pytest.fixture
def folder_page(browser, tmp_path):
    """A thousand recordings, of which the first is there; names and a class that would be scripts."""
    audio = tmp_path / "<img src=x onerror=alert(1)> #1.wav"
    write_audio(audio, 0.3 * np.sin(np.arange(16_000) / 3).astype(np.float32), 8000)
    scores = np.random.default_rng(0).random((50, len(NASTY)))
    results = [RecordingResult(audio, [Event(0.5, 1.0, NASTY[0], 0.9), Event(1.0, 1.5, NASTY[2])], 2.0, scores)]
    results += [
        RecordingResult(tmp_path / f"r{k}.wav", [Event(0.0, 1.0, NASTY[k % 3])] * (k % 5), 10.0 + k)
        for k in range(1, 1000)
    ]
    browser.get(write_folder_report(results, tmp_path / "out" / "page.html", classes=NASTY).as_uri())
    return browser


def first_names(browser, n=3):
    return [element.text for element in browser.find_elements("css selector", ".open")[:n]]


def test_the_folder_page_sorts_filters_and_shows_more(folder_page):
    assert folder_page.get_log("browser") == []
    assert len(folder_page.find_elements("css selector", "#rows tr")) == 250
    find(folder_page, "[data-sort=length]").click()
    assert first_names(folder_page, 2) == ["r999.wav", "r998.wav"]
    find(folder_page, "[data-sort=length]").click()
    assert first_names(folder_page, 2)[1] == "r1.wav"
    find(folder_page, "#name").send_keys("R99")
    assert "11 of 1,000" in find(folder_page, "#count").text
    find(folder_page, "#name").clear()
    find(folder_page, "#name").send_keys("r")
    find(folder_page, "#more").click()
    assert len(folder_page.find_elements("css selector", "#rows tr")) == 1000
    drawn = "return [...document.querySelectorAll('canvas.timeline')].filter(one => one.width > 300).length"
    assert 0 < folder_page.execute_script(drawn) < 400  # the rest is drawn when it comes into sight


def test_the_folder_page_plays_the_recording_where_it_lies(folder_page):
    assert first_names(folder_page, 1) == ["<img src=x onerror=alert(1)> #1.wav"]
    find(folder_page, ".open").click()
    assert len(folder_page.find_elements("css selector", ".detail audio")) == 1
    folder_page.execute_script("document.querySelector('.events button').click()")
    playing = "const a = document.querySelector('.detail audio'); return a.currentTime > 0.6 ? a.duration : 0"
    assert wait_for(lambda: folder_page.execute_script(playing)) == pytest.approx(2.0, abs=0.05)
    assert folder_page.get_log("browser") == []
    find(folder_page, ".open").click()
    assert folder_page.find_elements("css selector", ".detail") == []


@pytest.mark.parametrize("width", [320, 1280])
def test_the_folder_page_does_not_scroll_sideways(folder_page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    folder_page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        find(folder_page, ".open").click()
        assert folder_page.execute_script("return document.documentElement.scrollWidth - innerWidth") <= 0
    finally:
        folder_page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
