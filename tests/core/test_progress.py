import pytest

from jielong.core.language import interface_language
from jielong.core.progress import ProgressLine, format_seconds, track


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0s"), (59.4, "59s"), (190, "3m10s"), (3900, "1h05m")])
def test_durations_read_well(seconds, shown):
    assert format_seconds(seconds) == shown


def test_short_work_shows_nothing(capsys):
    assert list(track(range(5), "work")) == list(range(5))
    assert capsys.readouterr().err == ""


def test_long_work_shows_share_and_eta_on_stderr(capsys, monkeypatch):
    line = ProgressLine("work", 10)
    monkeypatch.setattr(line, "_started", line._started - 30)
    line.show(5, "five")
    line.close()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "50%" in shown.err
    assert "five" in shown.err
    assert "ETA 30s" in shown.err


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "zh_TW", "LC_ALL": "C"}, "en"),
        ({}, "en"),
        ({"LC_ALL": "", "LANG": "zh"}, "zh"),
    ],
)
def test_the_locale_chooses_the_language(monkeypatch, environment, language):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert interface_language() == language
