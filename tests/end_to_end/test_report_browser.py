"""The report in Chromium (Debian: packages chromium, chromium-driver): it opens offline, plays, and can be operated."""

import json
import shutil

import pytest
from run_factory import NASTY, make_experiment

from crnn_weak.report.page import write_report

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
# Smooth scrolling would move the pointer's aim. Every address that is not a file fails: the page is seen offline.
OPTIONS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "mute-audio", "force-prefers-reduced-motion",
    "autoplay-policy=no-user-gesture-required", "host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
if CHROMIUM is None or DRIVER is None:
    pytest.skip("Chromium or its driver is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a grid with labels that would be scripts."""
    path = make_experiment(tmp_path_factory.mktemp("browser"), classes=NASTY, settings=((1.0, 1.0),), n_clips=6)
    return write_report(path, n_clips=1, audio_folders=[path.parent])


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in OPTIONS:
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, report):
    browser.get_log("performance")
    browser.get(report.as_uri())
    return browser


def cursor(page):
    return float(page.execute_script("return document.querySelector('.cursor').style.getPropertyValue('--place') || 0"))


def n_playing(page):
    return page.execute_script("return [...document.querySelectorAll('audio')].filter(a => !a.paused).length")


def test_it_opens_without_a_complaint_and_asks_for_nothing(page):
    assert page.get_log("browser") == []
    requests = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [
        message["params"]["request"]["url"] for message in requests if message["method"] == "Network.requestWillBeSent"
    ]
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert "<script>alert(1)</script>" in page.execute_script("return document.body.innerText")
    with pytest.raises(Exception, match="no such alert"):
        _ = page.switch_to.alert.text


def test_one_clip_plays_at_a_time_and_its_cursor_moves(page):
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(page, 20, poll_frequency=0.05)
    page.execute_script("document.querySelectorAll('audio')[1].play().catch(() => 0)")
    wait.until(lambda page: n_playing(page) == 1)
    page.execute_script("document.querySelector('audio').play().catch(() => 0)")
    wait.until(lambda page: cursor(page) > 0.05)
    assert n_playing(page) <= 1
    assert page.get_log("browser") == []


def test_a_click_into_the_picture_plays_from_there(page):
    from selenium.webdriver.common.action_chains import ActionChains

    play = "function () { this.dataset.asked = 1; return Promise.resolve(); }"
    page.execute_script(f"HTMLMediaElement.prototype.play = {play}")
    picture = page.find_element("css selector", ".picture")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    left, width = (
        float(page.execute_script(f"return arguments[0].style.getPropertyValue('--{name}')", picture))
        for name in ("left", "width")
    )
    # The pointer is placed from the middle of the picture: aim at three quarters of the clip.
    x = (left + 0.75 * width - 0.5) * picture.size["width"]
    ActionChains(page).move_to_element_with_offset(picture, round(x), 0).click().perform()
    assert cursor(page) == pytest.approx(0.75, abs=0.02)
    assert page.execute_script("return document.querySelector('audio').dataset.asked") == "1"
