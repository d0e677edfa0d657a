"""boto3 with two keys: one that names no private models, and one that names acme/. Arguments:
endpoint, secret of both."""

import sys
import urllib.error
import urllib.request

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

endpoint, secret = sys.argv[1:]
KEY = "acme/tiny-llama/main/config.json"


def client(key_id):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(
            s3={"addressing_style": "path"}, retries={"max_attempts": 1}, signature_version="s3v4"
        ),
    )


def names(s3, **more):
    answer = s3.list_objects_v2(Bucket="models", **more)
    keys = [entry["Key"] for entry in answer.get("Contents", [])]
    return keys + [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]


def missing(call, **arguments):
    try:
        call(Bucket="models", Key=KEY, **arguments)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404, error
        return
    raise AssertionError("a private object was given away")


stranger, friend = client("OPENKEY"), client("ACMEKEY")
assert names(stranger, Delimiter="/") == ["lab/", "open/"], names(stranger, Delimiter="/")
assert names(friend, Delimiter="/") == ["acme/", "lab/", "open/"]
assert not any("acme" in name or "secret" in name for name in names(stranger))
assert not any("secret" in name for name in names(friend))
assert names(stranger, Prefix="acme/") == []
assert KEY in names(friend, Prefix="acme/")
missing(stranger.get_object)
missing(stranger.head_object)
body = friend.get_object(Bucket="models", Key=KEY)["Body"].read()
assert friend.head_object(Bucket="models", Key=KEY)["ContentLength"] == len(body) > 0
# What the friend has made hot is not served to the stranger.
missing(stranger.get_object)
link = stranger.generate_presigned_url("get_object", Params={"Bucket": "models", "Key": KEY})
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(link)
    raise AssertionError("a presigned URL gave a private object away")
except urllib.error.HTTPError as error:
    assert error.code == 404, error
