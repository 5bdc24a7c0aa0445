"""A server that speaks S3, on a port of its own in this process."""

import contextlib
import logging
import urllib.request

import boto3
from moto.server import ThreadedMotoServer

BUCKET = "kyc"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "Wilhelmina's key"}


class Server:
    """What was put into it is gone when it ends."""

    def __init__(self):
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        reset = f"{self.endpoint}/moto-api/reset"  # all of a process share their files
        urllib.request.urlopen(reset, data=b"", timeout=10).close()
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id="t", aws_secret_access_key="t",
        )  # fmt: skip
        self.client.create_bucket(Bucket=BUCKET)

    def listed(self):
        found = self.client.list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in found.get("Contents", [])]

    def read(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def stop(self):
        self._server.stop()


@contextlib.contextmanager
def bucket_server():
    server = Server()
    try:
        yield server
    finally:
        server.stop()
