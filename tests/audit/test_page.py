"""The page of an audit: nothing is fetched, everything is in it, and a browser shows it on a desk and on a phone."""

import json
import re
import shutil
import subprocess

import pair_potential as pp
import pytest

from hesspot.analysis.mode_viewer import library
from hesspot.audit.engines.calculator import CalculatorEngine
from hesspot.audit.page import write_page
from hesspot.audit.run import audit
from hesspot.audit.structures import made_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Pixels of a phone held upright.
PHONE = 390


def upside_down(results, atoms):
    results["forces"] = -results["forces"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = made_for(["Cu", "Ag"])
    engines = {
        "right <&> good": CalculatorEngine(pp.Pair(), "right"),
        "wrong": CalculatorEngine(pp.bent(upside_down), "wrong"),
    }
    report, trials = audit(engines, {name: made[name] for name in ("cluster", "triclinic")}, checks=["gradient"])
    path = tmp_path_factory.mktemp("page") / "audit.html"
    write_page(path, report, trials)
    assert [file.name for file in path.parent.iterdir()] == ["audit.html"]
    return path


def test_nothing_is_fetched(page):
    text = page.read_text().replace(library(), "")
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*", "", text)


def test_failures_are_told_in_words(page):
    text = page.read_text()
    assert "forces are of the wrong sign" in text
    assert text.count('<td class="bad">FAIL</td>') > 2
    assert "right &lt;&amp;&gt; good" in text


def test_modes_are_those_of_the_structures(page):
    told = [json.loads(found) for found in re.findall(r'"application/json">(.*?)</script>', page.read_text())]
    assert [len(each["symbols"]) for each in told] == [8, 8]
    assert [len(each["vectors"]) for each in told] == [18, 21]


def browse(page, *options):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--no-first-run"]
    command += ["--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update"]
    command += ["--disable-sync", f"--user-data-dir={page.parent / 'profile'}", "--virtual-time-budget=4000", *options]
    return subprocess.run([*command, f"file://{page}"], capture_output=True, text=True, timeout=300).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_a_browser_draws_the_modes(page):
    assert browse(page, "--dump-dom").count('data-ready="yes"') == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
def test_nothing_is_wider_than_a_phone(page):
    frame = page.parent / "phone.html"
    measure = "document.title = frames[0].document.documentElement.scrollWidth"
    frame.write_text(f'<iframe width="{PHONE}" height="800" src="audit.html" onload="{measure}"></iframe>')
    found = browse(frame, "--dump-dom", "--allow-file-access-from-files", "--disable-web-security")
    assert int(re.search(r"<title>(\d+)</title>", found)[1]) <= PHONE
