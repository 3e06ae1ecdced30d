"""The S3 that rounds of claims stand on is as strict as moto about conditions, and cuts off whom a test says."""

import time
from email.utils import parsedate_to_datetime
from random import Random

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from harness.aws.conditional import ConditionalStore
from harness.aws.proxy import REGION

OBJECT = {"Bucket": "shop-releases", "Key": "claims/a b"}


def client(url: str, **config):
    keys = {} if "signature_version" in config else {"aws_access_key_id": "harness", "aws_secret_access_key": "harness"}
    config = Config(retries={"max_attempts": 0}, read_timeout=1, s3={"addressing_style": "path"}, **config)
    return boto3.client("s3", region_name=REGION, endpoint_url=url, config=config, **keys)


@pytest.fixture
def store():
    with ConditionalStore(Random(1)) as store:
        yield store


@pytest.fixture
def door(store):
    return store.door()


@pytest.fixture(params=["ours", "moto"])
def s3(request, door):
    """Both answer alike."""
    if request.param == "ours":
        return client(door.env["AWS_ENDPOINT_URL_S3"])
    aws = request.getfixturevalue("aws")
    aws.client("s3").create_bucket(Bucket="shop-releases", CreateBucketConfiguration={"LocationConstraint": REGION})
    return client(aws.url)


def refused(code: str):
    return pytest.raises(ClientError, match=rf"\({code}\)")


def test_one_of_two_writes_is_refused(s3):
    with refused("NoSuchKey"):
        s3.get_object(**OBJECT)
    with refused("NoSuchKey"):
        s3.put_object(**OBJECT, Body=b"one", IfMatch='"0"')
    one = s3.put_object(**OBJECT, Body=b"one", IfNoneMatch="*")["ETag"]
    with refused("PreconditionFailed"):
        s3.put_object(**OBJECT, Body=b"two", IfNoneMatch="*")
    two = s3.put_object(**OBJECT, Body=b"two", IfMatch=one)["ETag"]
    with refused("PreconditionFailed"):
        s3.put_object(**OBJECT, Body=b"three", IfMatch=one)
    found = s3.get_object(**OBJECT)
    assert (found["ETag"], found["Body"].read()) == (two, b"two") and one != two
    assert s3.head_object(**OBJECT)["ETag"] == two
    assert s3.put_object(**OBJECT, Body=b"one")["ETag"] == one, "it is of the content"


def test_its_times_are_of_one_clock(s3):
    s3.put_object(**OBJECT, Body=b"one")
    found = s3.get_object(**OBJECT)
    date = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert 0 <= (date - found["LastModified"]).total_seconds() <= 2


def test_its_clock_may_be_another(store, door):
    store.ahead["shop-releases"] = 100
    s3 = client(door.env["AWS_ENDPOINT_URL_S3"])
    s3.put_object(**OBJECT, Body=b"one")
    assert 98 <= s3.get_object(**OBJECT)["LastModified"].timestamp() - time.time() <= 101


def test_who_does_not_sign_is_denied(door):
    unsigned = client(door.env["AWS_ENDPOINT_URL_S3"], signature_version=UNSIGNED)
    with refused("AccessDenied"):
        unsigned.put_object(**OBJECT, Body=b"one")


@pytest.mark.parametrize("cut", ["silent", "unheard", "late", "reset"])
def test_who_is_cut_off_hears_nothing(store, door, cut):
    """And what it had written before may be done."""
    others = client(store.door().env["AWS_ENDPOINT_URL_S3"])
    door.cut, door.late = cut, 2
    s3 = client(door.env["AWS_ENDPOINT_URL_S3"])
    for body in (b"one", b"two"):
        with pytest.raises(BotoCoreError):
            s3.put_object(**OBJECT, Body=body)
        with pytest.raises(BotoCoreError):
            s3.get_object(**OBJECT)
    time.sleep(max(0, door.late - 1))
    if cut in ("unheard", "late"):
        assert others.get_object(**OBJECT)["Body"].read() == b"one"
    else:
        with refused("NoSuchKey"):
            others.get_object(**OBJECT)


def test_nobody_has_two_bad_answers_in_a_row():
    with ConditionalStore(Random(1), trouble=0.5) as store:
        s3 = client(store.door().env["AWS_ENDPOINT_URL_S3"])
        went_well = []
        for number in range(200):
            try:
                s3.put_object(**OBJECT, Body=b"%d" % number)
                went_well.append(True)
            except (ClientError, BotoCoreError):
                went_well.append(False)
    assert 40 < went_well.count(False) < 100
    assert all(one or other for one, other in zip(went_well, went_well[1:], strict=False))
