"""boto3 against the read-only S3: listings in all their forms, objects whole and in parts, signed
and not, and every refusal. Arguments: endpoint, directory with the same files, revision, key id,
secret."""

import hashlib
import os
import re
import sys
import urllib.error
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore import UNSIGNED
from botocore.client import Config
from botocore.exceptions import ClientError

endpoint, source, revision, key_id, secret = sys.argv[1:]
start = "acme/tiny-llama/main/"


def client(key_id, secret, **more):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **more)
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=config,
    )


def fails(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (code, error.response)
        return
    raise AssertionError(f"{arguments} did not fail with {code}")


s3 = client(key_id, secret)
wanted = {
    start + os.path.relpath(os.path.join(above, name), source): os.path.join(above, name)
    for above, _, names in os.walk(source)
    for name in names
}
assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["models"]
assert s3.head_bucket(Bucket="models")["ResponseMetadata"]["HTTPStatusCode"] == 200
assert s3.get_bucket_location(Bucket="models")["LocationConstraint"] is None
pages = s3.get_paginator("list_objects_v2")
for size in (1, 3, 1000):
    found = [
        entry
        for page in pages.paginate(Bucket="models", Prefix=start, PaginationConfig={"PageSize": size})
        for entry in page.get("Contents", [])
    ]
    assert [entry["Key"] for entry in found] == sorted(wanted, key=str.encode), (size, found)
    for entry in found:
        assert entry["Size"] == os.path.getsize(wanted[entry["Key"]]), entry
        # The form of objects that came in parts, which nobody takes for an MD5.
        assert re.fullmatch('"[0-9a-f]{32}-1"', entry["ETag"]), entry
        assert entry["StorageClass"] == "STANDARD", entry
old = s3.get_paginator("list_objects")
found = [
    entry["Key"]
    for page in old.paginate(Bucket="models", PaginationConfig={"PageSize": 2})
    for entry in page.get("Contents", [])
]
assert [key for key in found if key.startswith(start)] == sorted(wanted, key=str.encode), found


def groups(prefix, size=1000):
    found = []
    for page in pages.paginate(
        Bucket="models", Prefix=prefix, Delimiter="/", PaginationConfig={"PageSize": size}
    ):
        found += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        found += [entry["Key"] for entry in page.get("Contents", [])]
    return found


for size in (1, 1000):
    assert groups("", size) == ["acme/", "other/"], groups("", size)
    assert groups("acme/", size) == ["acme/tiny-llama-2/", "acme/tiny-llama/"], groups("acme/", size)
    assert groups("acme/tiny-llama/", size) == [start]
    assert start + "sub dir/" in groups(start, size)
    below = [start + "sub dir/a+b.txt", start + "sub dir/deep/"]
    assert sorted(groups(start + "sub dir/", size)) == below, groups(start + "sub dir/", size)
by_id = s3.list_objects_v2(Bucket="models", Prefix=f"acme/tiny-llama/{revision}/")
assert by_id["KeyCount"] == len(wanted), by_id
later = s3.list_objects_v2(Bucket="models", Prefix=start, StartAfter=start + "model.safetensors")
behind = [key for key in sorted(wanted, key=str.encode) if key > start + "model.safetensors"]
assert [entry["Key"] for entry in later["Contents"]] == behind, later
assert s3.list_objects_v2(Bucket="models", Prefix="nothing")["KeyCount"] == 0
assert s3.list_objects_v2(Bucket="models", MaxKeys=0)["KeyCount"] == 0

for key, path in wanted.items():
    with open(path, "rb") as file:
        content = file.read()
    head = s3.head_object(Bucket="models", Key=key)
    assert head["ContentLength"] == len(content)
    got = s3.get_object(Bucket="models", Key=key, IfMatch=head["ETag"])
    assert got["Body"].read() == content, key
    if content:
        assert head["ETag"] == '"' + hashlib.sha256(content).hexdigest()[:32] + '-1"', (key, head)
key = start + "model.safetensors"
weights = open(wanted[key], "rb").read()
part = s3.get_object(Bucket="models", Key=key, Range="bytes=8-1000007")
assert part["Body"].read() == weights[8:1000008]
assert part["ContentRange"] == f"bytes 8-1000007/{len(weights)}"
assert s3.get_object(Bucket="models", Key=key, Range="bytes=-5")["Body"].read() == weights[-5:]
# Parts of five megabytes at once, each with If-Match.
many = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, max_concurrency=4)
s3.download_file("models", key, "fetched", Config=many)
assert open("fetched", "rb").read() == weights
# Presigned by version 4; without asking boto3 still presigns by version 2, and is told what to do.
presigning = client(key_id, secret, signature_version="s3v4")
url = presigning.generate_presigned_url("get_object", {"Bucket": "models", "Key": key}, ExpiresIn=60)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
assert opener.open(url).read() == weights

fails("NoSuchKey", s3.get_object, Bucket="models", Key=start + "absent")
fails("404", s3.head_object, Bucket="models", Key="acme/absent/main/x")
fails("NoSuchBucket", s3.list_objects_v2, Bucket="absent")
fails("404", s3.head_bucket, Bucket="absent")
fails("InvalidRange", s3.get_object, Bucket="models", Key=key, Range="bytes=99999999-")
fails("PreconditionFailed", s3.get_object, Bucket="models", Key=key, IfMatch='"old"')
fails("MethodNotAllowed", s3.put_object, Bucket="models", Key="a", Body=b"x")
fails("MethodNotAllowed", s3.delete_object, Bucket="models", Key=key)
fails("NotImplemented", s3.get_bucket_acl, Bucket="models")
fails("NotImplemented", s3.get_object_acl, Bucket="models", Key=key)
fails("NotImplemented", s3.get_object_tagging, Bucket="models", Key=key)
fails("NotImplemented", s3.get_object_attributes, Bucket="models", Key=key, ObjectAttributes=["ETag"])
fails("NotImplemented", s3.get_object_torrent, Bucket="models", Key=key)
fails("NotImplemented", s3.get_object_retention, Bucket="models", Key=key)
fails("NotImplemented", s3.list_parts, Bucket="models", Key=key, UploadId="x")
fails("NotImplemented", s3.list_object_versions, Bucket="models")
fails("NoSuchVersion", s3.get_object, Bucket="models", Key=key, VersionId="zz")
assert s3.get_object(Bucket="models", Key=key, VersionId="null")["Body"].read() == weights
fails("InvalidArgument", s3.list_objects_v2, Bucket="models", ContinuationToken="zz")
anonymous = client(None, None, signature_version=UNSIGNED)
wrong = client(key_id, secret[::-1])
unknown = client("nobody", secret)
if os.environ.get("KEYS_ARE_ASKED_FOR"):
    old = client(key_id, secret, signature_version="s3")
    try:
        opener.open(old.generate_presigned_url("get_object", {"Bucket": "models", "Key": key}))
        raise AssertionError("a signature of version 2 was taken")
    except urllib.error.HTTPError as error:
        said = error.read().decode()
        assert error.code == 400 and "version 4" in said and "s3v4" in said, said
    fails("AccessDenied", anonymous.list_objects_v2, Bucket="models")
    fails("SignatureDoesNotMatch", wrong.list_objects_v2, Bucket="models")
    fails("InvalidAccessKeyId", unknown.get_object, Bucket="models", Key=key)
else:
    for one in (anonymous, wrong, unknown):
        assert one.list_objects_v2(Bucket="models")["KeyCount"] > 0
        assert one.get_object(Bucket="models", Key=key)["ContentLength"] == len(weights)
