"""A made-up account with every kind of reference, how it changes from day to day, and what is needed in it.

`needed` is the independent check of `prune.py`: for each thing it goes through everything else in the account, and
shares no code with `packer/pipeline/pruning/`.
"""

import base64
import gzip
import json
import random
from datetime import timedelta

from .images import ImageAccount

PIPELINE = {"ingot:pipeline": "shop"}
PARAMETER = "/golden/shop/x86_64"
PUBLISHED = {**PIPELINE, "ingot:published": PARAMETER}
GOLDEN = {**PIPELINE, "ingot:golden-data": "shop"}
FRIEND = "210987654321"
MARKS = ("ingot:unused-since", "ingot:unused-seen-again", "ingot:disabled-since", "ingot:shared-with")
ENDED = ("terminated", "shutting-down")


def made_up(seed: int, images: int, snapshots: int) -> ImageAccount:
    """Of ten images, four have a reference, two are too new or too young, and four are not needed."""
    chance, account = random.Random(seed), ImageAccount()
    for resource in ("EC2_IMAGE", "EBS_SNAPSHOT"):
        pair = {"ResourceTagKey": "ingot:pipeline", "ResourceTagValue": "shop"}
        account.rules.append({"Identifier": f"rule{resource[:3]}00", "ResourceType": resource, "ResourceTags": [pair]})
    made = [make_image(account, chance, number) for number in range(images)]
    while len(account.snapshots) < snapshots:
        tags = chance.choice([GOLDEN, {**GOLDEN, "role": "data"}, {**GOLDEN, "role": "logs"}, {**PIPELINE}, {}, {}])
        account.snapshot(tags, timedelta(days=chance.uniform(0, 300)), chance.randint(1, 200))
    for number in range(30):
        tags = chance.choice([GOLDEN, {**GOLDEN, "role": "orders"}, {"team": "web"}])
        account.database(f"golden-{number}", tags, timedelta(days=chance.uniform(0, 90)), cluster=number % 3 == 0)
    for refer in REFERENCES:
        for image in chance.sample(made, max(1, images * 2 // 5 // len(REFERENCES))):
            refer(account, chance, image)
    refer_to_snapshots(account, chance)
    account.recipes[chance.choice(made)] = "base"
    return account


def make_image(account: ImageAccount, chance: random.Random, number: int) -> str:
    tags = chance.choices([PUBLISHED, PIPELINE, {"ingot:pipeline": "other"}, {"team": "web"}], [5, 3, 1, 1])[0]
    age = timedelta(days=chance.uniform(0, 400)) if number % 10 else timedelta(hours=chance.uniform(0, 23))
    own = [account.snapshot(tags, age, chance.randint(4, 30)) for _ in range(chance.choice([1, 1, 2]))]
    if account.images and chance.random() < 0.05:
        own.append(chance.choice(list(account.images.values()))["snapshots"][0])
    extra = {}
    if chance.random() < 0.05:
        extra["protection"] = "enabled-without-cooldown"
    if chance.random() < 0.03:
        extra["State"] = "pending"
    elif chance.random() < 0.03:
        extra["State"] = "disabled"
    elif chance.random() < 0.1:
        extra["shared"] = [FRIEND]
    image = account.image(tags, age, snapshots=own, **extra)
    if extra.get("shared") and chance.random() < 0.5:
        account.usage[image] = [(FRIEND, chance.choice(["ec2:Instance", "ec2:LaunchTemplate"]), 3)]
    if chance.random() < 0.03:
        account.images[image]["tags"]["ingot:keep"] = "audit of 2026"
    return image


# References to an image, one of each kind.


def of_an_instance(account: ImageAccount, chance: random.Random, image: str) -> None:
    state = chance.choice(["pending", "running", "stopping", "stopped", "terminated", "shutting-down"])
    account.instances.append({"id": account.id("i"), "image": image, "state": state})


def of_a_template(account: ImageAccount, chance: random.Random, image: str) -> None:
    versions = [{"ImageId": image}, *({"InstanceType": "m7i.large"} for _ in range(chance.choice([0, 3, 12])))]
    account.template(chance.choice([{}, PIPELINE]), *versions, default=len(versions))


def of_a_pinned_template(account: ImageAccount, _chance: random.Random, image: str) -> None:
    name = f"/golden/pinned-{account.id('p')[-4:]}/x86_64"
    other = next(iter(account.images))
    account.parameter(name, other, image, other, other)
    account.template({}, {"ImageId": f"resolve:ssm:{name}:2"})


def of_a_group(account: ImageAccount, chance: random.Random, image: str) -> None:
    template = account.template(PIPELINE, *({"InstanceType": "m7i.large"} for _ in range(9)), default=9)
    named = {"LaunchTemplateId": template, "Version": chance.choice(["2", "$Latest", "$Default"])}
    overrides = [
        {"InstanceType": "m7a.large", "ImageId": image},
        {"LaunchTemplateSpecification": {**named, "Version": "3"}},
    ]
    policy = {"LaunchTemplate": {"LaunchTemplateSpecification": named, "Overrides": overrides}}
    sizes = {"MinSize": 0, "MaxSize": 9, "DesiredCapacity": 0, "DefaultCooldown": 300, "HealthCheckType": "EC2"}
    zones = {"AvailabilityZones": ["eu-central-1a"], "CreatedTime": account.now}
    name = {"AutoScalingGroupName": f"group-{template[-4:]}"}
    account.groups.append({**name, **sizes, **zones, "MixedInstancesPolicy": policy})


def of_a_launch_configuration(account: ImageAccount, _chance: random.Random, image: str) -> None:
    name = {"LaunchConfigurationName": f"old-{image[-4:]}", "InstanceType": "m5.large", "CreatedTime": account.now}
    account.launch_configurations.append({**name, "ImageId": image})


def of_a_fleet(account: ImageAccount, chance: random.Random, image: str) -> None:
    template = account.template({}, {"InstanceType": "m7i.large"})
    configuration = {
        "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"},
        "Overrides": [{"ImageId": image}],
    }
    state = chance.choice(["active", "modifying", "deleted"])
    account.fleets.append(
        {"FleetId": account.id("fleet"), "FleetState": state, "LaunchTemplateConfigs": [configuration]}
    )


def of_a_stack(account: ImageAccount, chance: random.Random, image: str) -> None:
    field = chance.choice(["ParameterValue", "ResolvedValue"])
    value = {"ParameterValue": "/x/image"} if field == "ResolvedValue" else {}
    parameter = {"ParameterKey": "Image", **value, field: image}
    account.stacks.append({"StackName": f"shop-{image[-5:]}", "Parameters": [parameter]})


def of_a_parameter(account: ImageAccount, chance: random.Random, image: str) -> None:
    other = next(iter(account.images))
    values, previous = chance.choice([([other, image], None), ([other, image, other], 2), ([image, other, other], 2)])
    account.parameter(f"/golden/{image[-6:]}/x86_64", *values, previous=previous)


def of_a_deployment(account: ImageAccount, chance: random.Random, image: str) -> None:
    """Of five records, those that count are under way, in force and last good."""
    environment, other = f"shop/environments/e{image[-6:]}", next(iter(account.images))
    states = chance.choice(
        [["good", "good", "failed"], ["good", "good", "good", "under_way"], ["good", "undone", "good"]]
    )
    place = chance.randrange(len(states))
    for number, state in enumerate(states, 1):
        document = f"{environment}/documents/{number}.yaml"
        goal = {
            "release": f"v{number}",
            "image": image if number - 1 == place else other,
            "document": {"key": document},
        }
        record = {"schema": 2, "kind": "deploy", "state": state, "goal": goal}
        account.objects[f"{environment}/deployments/{number}.json"] = json.dumps(record)
        account.objects[document] = "version: 1"
    account.objects[f"{environment}/deployments/freeze.json"] = "{}"


REFERENCES = (
    of_an_instance,
    of_a_template,
    of_a_pinned_template,
    of_a_group,
    of_a_launch_configuration,
    of_a_fleet,
    of_a_stack,
    of_a_parameter,
    of_a_deployment,
)


def refer_to_snapshots(account: ImageAccount, chance: random.Random) -> None:
    images = {one for image in account.images.values() for one in image["snapshots"]}
    alone = [one for one in account.snapshots if one not in images]
    mapping = [{"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": chance.choice(alone)}}]
    plain = f"version: 1\nvolumes: {{ data: {{ from: {{ snapshot: {chance.choice(alone)} }} }} }}".encode()
    packed = gzip.compress(f"databases: {{ main: {{ restore_from: {{ snapshot: golden-{3} }} }} }}".encode())
    for data in (plain, packed):
        account.template({}, {"BlockDeviceMappings": mapping, "UserData": base64.b64encode(data).decode()})
    of_a_stack(account, chance, chance.choice(alone))
    account.stacks.append({"StackName": "db", "Parameters": [{"ParameterKey": "From", "ParameterValue": "golden-4"}]})
    of_a_deployment(account, chance, next(iter(account.images)))
    key = next(key for key in reversed(account.objects) if key.endswith("/3.yaml"))
    account.objects[key] = f"volumes: {{ data: {{ from: {{ snapshot: {chance.choice(alone)} }} }} }}\n# golden-5"


# A day.


def day_passes(account: ImageAccount, chance: random.Random) -> None:
    """Somebody launches, terminates, pins, deletes."""
    account.now += timedelta(days=1)
    available = [id for id, image in account.images.items() if image["State"] == "available"]
    for _ in range(3):
        of_an_instance(account, chance, chance.choice(available))
        # What is disabled can be named, though not launched.
        of_a_stack(account, chance, chance.choice(list(account.images)))
        account.instances.pop(chance.randrange(len(account.instances)))
        account.stacks.pop(chance.randrange(len(account.stacks)))
    if marked := [one for one in account.snapshots.values() if MARKS[0] in one["tags"]]:
        chance.choice(marked)["tags"]["ingot:keep"] = "looked at"
    account.groups.pop(chance.randrange(len(account.groups)))


# What is needed.


def everything(account: ImageAccount) -> list[str]:
    """A text for each object that may name others: no instances that end, no fleets that are gone, no old records."""
    found = [one["image"] for one in account.instances if one["state"] not in ENDED]
    found += [
        json.dumps(one, default=str) for one in (*account.groups, *account.launch_configurations, *account.stacks)
    ]
    found += [json.dumps(one) for one in account.fleets if one["FleetState"] != "deleted"]
    for template in account.templates.values():
        for data in template["versions"].values():
            content = base64.b64decode(data.get("UserData", ""))
            content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
            found += [json.dumps(data), content.decode()]
            if (image := data.get("ImageId", "")).startswith("resolve:ssm:"):
                _, _, name, *version = image.split(":")
                found.append(account.parameters[name][int(version[0]) - 1 if version else -1])
    for name, values in account.parameters.items():
        found.append(values[-1])
        if (name, "previous") in account.labels:
            found.append(values[account.labels[name, "previous"] - 1])
    return found + list(account.recipes) + records(account)


def records(account: ImageAccount) -> list[str]:
    """The deployments under way and the two newest good ones; the made-up account has no rollbacks."""
    found = []
    for environment in {key.split("/deployments/")[0] for key in account.objects if "/deployments/" in key}:
        numbers = [n for n in range(1, 100) if f"{environment}/deployments/{n}.json" in account.objects]
        all = [json.loads(account.objects[f"{environment}/deployments/{n}.json"]) for n in reversed(numbers)]
        good = [record for record in all if record["state"] == "good"][:2]
        for record in [*good, *(record for record in all if record["state"] == "under_way")]:
            found += [json.dumps(record), account.objects[record["goal"]["document"]["key"]]]
    return found


def needed(account: ImageAccount) -> dict[str, bool]:
    """For each image, snapshot and database snapshot that has our tags: whether it has to stay."""
    texts = "\n".join(everything(account))
    words = set(texts.replace('"', " ").split())
    found = {}
    for id, image in account.images.items():
        if "ingot:pipeline" in image["tags"]:
            stays = "ingot:keep" in image["tags"] or id in texts or image["State"] == "pending"
            stays |= image.get("protection", "disabled") != "disabled" or is_young(account, image)
            published = image["tags"].get("ingot:published")
            rivals = [(other["created"], key) for key, other in account.images.items() if published]
            rivals = [rival for rival in rivals if is_rival(account.images[rival[1]], "ingot:published", published)]
            found[id] = stays or bool(published and newer(rivals, (image["created"], id)) < 5)
    parts = {one for image in account.images.values() for one in image["snapshots"]}
    for known in (account.snapshots, account.databases, account.clusters):
        families: dict[tuple, list[tuple]] = {}
        for id, one in known.items():
            if id not in parts:
                families.setdefault(plain(one), []).append((one["created"], id))
        for id, one in known.items():
            if id in parts or not {"ingot:pipeline", "ingot:golden-data"} & set(one["tags"]):
                continue
            named = id in texts if id.startswith("snap-") else id in words
            stays = "ingot:keep" in one["tags"] or named or is_young(account, one)
            found[id] = stays or newer(families[plain(one)], (one["created"], id)) < 3
    return found


def plain(one: dict) -> tuple:
    return tuple(sorted(tag for tag in one["tags"].items() if tag[0] not in (*MARKS, "ingot:keep")))


def is_rival(image: dict, key: str, value: str | None) -> bool:
    return "ingot:pipeline" in image["tags"] and image["tags"].get(key) == value and image["State"] != "pending"


def newer(rivals: list[tuple], one: tuple) -> int:
    return sum(rival > one for rival in rivals)


def is_young(account: ImageAccount, one: dict) -> bool:
    return account.now - one["created"] < timedelta(days=1)


def needed_versions(account: ImageAccount) -> dict[str, bool]:
    """For each version of a launch template that has our tags."""
    found = {}
    for id, template in account.templates.items():
        named = {template["default"], max(template["versions"])}
        for value in (*account.groups, *(fleet for fleet in account.fleets if fleet["FleetState"] != "deleted")):
            for version in json.dumps(value, default=str).split(f'"LaunchTemplateId": "{id}", "Version": "')[1:]:
                text = version.split('"')[0]
                named.add(
                    {"$Default": template["default"], "$Latest": max(template["versions"])}.get(text) or int(text)
                )
        if "ingot:pipeline" in template["tags"]:
            for version in template["versions"]:
                newest = sum(other > version for other in template["versions"]) < 5
                found[f"{id}:{version}"] = version in named or newest
    return found
