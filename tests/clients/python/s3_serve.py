"""An S3 server (moto) with one bucket, filled by boto3. Arguments: folder, bucket, prefix. Prints its
URL and serves until its standard input ends."""

import os
import sys

import boto3
from moto.server import ThreadedMotoServer

folder, bucket, prefix = sys.argv[1:]
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
s3 = boto3.client(
    "s3",
    endpoint_url=url,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
s3.create_bucket(Bucket=bucket)
for above, _, names in os.walk(folder):
    for name in names:
        path = os.path.join(above, name)
        s3.upload_file(path, bucket, f"{prefix}/{os.path.relpath(path, folder)}")
s3.put_object(Bucket=bucket, Key="other/stranger.bin", Body=b"not below the prefix")
print(url, flush=True)
sys.stdin.read()
server.stop()
