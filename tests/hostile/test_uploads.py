"""Files as they are, handed in to a real server."""

import json
import random
import uuid

import pytest

from helpers.samples import pdf

pytestmark = pytest.mark.slow


def form(content):
    """A form with a file, as browsers write it, and its media type."""
    boundary = uuid.uuid4().hex
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="{{}}"'
    body = (
        f"{part.format('type')}\r\n\r\npassport\r\n{part.format('file')}; "
        'filename="a.pdf"\r\nContent-Type: application/pdf\r\n\r\n'
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    return body + content + tail, f"multipart/form-data; boundary={boundary}"


@pytest.mark.parametrize("size", [1_000, 700_000, 2_500_000, 10_400_000])
def test_a_file_of_random_bytes_comes_back_as_it_was(lives, size):
    token = lives.registered()
    for seed in range(3):
        content = pdf(random.Random(seed).randbytes(size))
        body, kind = form(content)
        status, said = lives.post(
            "/api/v1/issuers/kyc/upload", body, token, Content_Type=kind
        )
        assert 201 == status, said
        path = f"/api/v1/issuers/kyc/{json.loads(said)['data']['id']}/file"
        status, found = lives.ask("GET", path, Authorization=f"Bearer {token}")
        assert (200, len(content)) == (status, len(found))
        assert content == found
