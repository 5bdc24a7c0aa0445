"""Settings that a domain declares: what may be said, and what they are without it."""

import pytest

from db.declare import DeclarationError, Setting, SettingsTable, schedule, time_zone
from db.declare.settings import settings_of


class LibrarySettings(SettingsTable):
    """How long books
    are lent."""

    loan_days = Setting(21, "For how many days.", least=1)
    zone = Setting("UTC", "Of opening hours.", check=time_zone)


@schedule("0 9 * * MON", zone=LibrarySettings.zone)
def open_doors(at, tables):
    """The doors are opened."""
    yield from ()


def test_what_is_not_given_is_as_declared():
    found = LibrarySettings(loan_days=14)

    assert (found.loan_days, found.zone) == (14, "UTC")
    assert settings_of({}, LibrarySettings).loan_days == 21
    assert settings_of({LibrarySettings: found}, LibrarySettings) is found
    assert LibrarySettings.doc == "How long books are lent."
    with pytest.raises(TypeError, match="no setting loan_weeks"):
        LibrarySettings(loan_weeks=2)


def test_a_schedule_runs_in_the_zone_that_is_set():
    given = {LibrarySettings: LibrarySettings(zone="Asia/Tokyo")}

    assert open_doors.as_set({}).zone == open_doors.zone == "UTC"
    assert open_doors.as_set(given).zone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "it has no docstring"),
        ({"__doc__": "One.", "days": 3}, "days: it is no setting. Remedy: write days"),
        ({"__doc__": "One.", "days": Setting((), "?")}, "is no default of a setting"),
        ({"__doc__": "One.", "level": Setting("a", "?", among=("b",))}, "not among"),
    ],
)
def test_what_cannot_be_set_is_refused(body, words):
    with pytest.raises(DeclarationError, match=words):
        type("Wrong", (SettingsTable,), body)


def test_zones_are_those_of_iana():
    assert time_zone("America/Toronto") == "America/Toronto"
    for wrong in ("America/Torronto", "", "/etc/passwd", "../UTC"):
        with pytest.raises(ValueError, match="write one as"):
            time_zone(wrong)
