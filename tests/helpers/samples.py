"""Small files of every kind that is taken, and some that are two things at once."""

import io
import struct
import zipfile
import zlib


def chunk(name, content):
    sum_ = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", sum_)


def png(noise=b""):
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    image = zlib.compress(b"\0\0")
    text = chunk(b"tEXt", b"noise\0" + noise) if noise else b""
    parts = (chunk(b"IHDR", header), text, chunk(b"IDAT", image), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def pdf(noise=b""):
    body = b"%PDF-1.7\n%" + noise + b"\n1 0 obj<</Type/Catalog>>endobj\n"
    return body + b"trailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"


def jpeg(noise=b""):
    comment = b"\xff\xfe" + struct.pack(">H", len(noise) + 2) + noise
    return b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + comment + b"\xff\xd9"


def webp(noise=b""):
    image = b"\x2f" + noise
    padding = b"\0" * (len(image) % 2)
    body = b"WEBPVP8L" + struct.pack("<I", len(image)) + image + padding
    return b"RIFF" + struct.pack("<I", len(body)) + body


def archive():
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as file:
        file.writestr("a.html", "<script>alert(1)</script>")
    return found.getvalue()


GOOD = {
    "pdf": (pdf, "application/pdf"), "png": (png, "image/png"),
    "jpg": (jpeg, "image/jpeg"), "jpeg": (jpeg, "image/jpeg"),
    "webp": (webp, "image/webp"),
}  # fmt: skip
