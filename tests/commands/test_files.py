"""What people send as documents, with good and with bad intent."""

import pytest

from commands.files import BadFile, inspect
from commands.storage import FolderStorage
from helpers.samples import GOOD, archive, jpeg, pdf, png, webp

NAME = "ab" * 32


@pytest.mark.parametrize("ending", GOOD)
def test_good_files_are_taken(ending):
    make, media_type = GOOD[ending]

    found = inspect(make(b"x"), name=f"My File.{ending.upper()}", media_type=media_type)

    assert media_type == found.media_type
    assert f"My File.{ending.upper()}" == found.name


HTML = b"<html><script>alert(1)</script></html>"
PAIRS = [(make, ending, kind) for ending, (make, kind) in GOOD.items()]


@pytest.mark.parametrize(
    ("content", "name", "media_type", "cause"),
    [
        (b"", "a.pdf", "application/pdf", "empty"),
        (pdf(), "a.exe", "application/pdf", "must end in"),
        (pdf(), "pdf", "application/pdf", "must end in"),
        (pdf(), "", "application/pdf", "must end in"),
        (pdf(), "a.pdf.html", "text/html", "must end in"),
        (pdf(), "a.svg", "image/svg+xml", "must end in"),
        (pdf(), "a.pdf", "text/html", "is sent as"),
        (pdf(), "a.pdf", "", "is sent as"),
        (pdf(), "a.png", "image/png", "no whole"),
        (png(), "a.jpg", "image/jpeg", "no whole"),
        (HTML, "a.pdf", "application/pdf", "no whole"),
        (HTML + pdf(), "a.pdf", "application/pdf", "no whole"),
        (pdf() + HTML, "a.pdf", "application/pdf", "no whole"),
        (pdf()[:-8], "a.pdf", "application/pdf", "no whole"),
        (b"%PDF-9.9\n%%EOF", "a.pdf", "application/pdf", "no whole"),
        (png() + HTML, "a.png", "image/png", "no whole"),
        (png()[:-1], "a.png", "image/png", "no whole"),
        (png()[:8], "a.png", "image/png", "no whole"),
        (png()[:8] + png()[33:], "a.png", "image/png", "no whole"),
        (jpeg() + HTML, "a.jpg", "image/jpeg", "no whole"),
        (b"\xff\xd8\xff\xd9"[:3], "a.jpg", "image/jpeg", "no whole"),
        (webp() + HTML, "a.webp", "image/webp", "no whole"),
        (webp().replace(b"VP8L", b"EVIL"), "a.webp", "image/webp", "no whole"),
        (b"RIFF", "a.webp", "image/webp", "no whole"),
        (b"RIFF\x0c\0\0\0WEBPVP8 \0\0\0\0", "a.webp", "image/webp", "no whole"),
    ],
)
def test_what_is_not_what_it_says_is_refused(content, name, media_type, cause):
    with pytest.raises(BadFile, match=cause):
        inspect(content, name=name, media_type=media_type)


@pytest.mark.parametrize(("make", "ending", "media_type"), PAIRS)
def test_a_file_that_is_an_archive_too_is_refused(make, ending, media_type):
    """The archive stands where the format has room for anything."""
    with pytest.raises(BadFile, match="ZIP"):
        inspect(make(archive()), name=f"a.{ending}", media_type=media_type)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("..\\..\\boot.pdf", "boot.pdf"),
        ("/etc/cron.d/x.pdf", "x.pdf"),
        ("a\x00b\n\x1b[2J\u202egpj.pdf", "ab[2Jgpj.pdf"),
        ('<img src="x">.pdf', "img src=x.pdf"),
        ("ü" * 500 + ".pdf", "ü" * 96 + ".pdf"),
    ],
)
def test_names_are_for_people_only(name, shown):
    found = inspect(pdf(), name=name, media_type="application/pdf")

    assert shown == found.name


def test_a_folder_is_for_our_eyes_only(tmp_path):
    FolderStorage(tmp_path / "files").put(NAME, b"one")

    [path] = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert 0o600 == path.stat().st_mode & 0o777
    assert 0o700 == path.parent.stat().st_mode & 0o777


def test_a_file_that_was_not_written_whole_is_not_there(tmp_path):
    storage = FolderStorage(tmp_path)

    with pytest.raises(TypeError):
        storage.put(NAME, "text is not bytes")

    assert [] == [each for each in tmp_path.rglob("*") if each.is_file()]
