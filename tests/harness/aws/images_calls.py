"""The calls of `images.ImageAccount`, each named by its operation: the account and the request in, the answer out."""

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from .images import ImageAccount as Account


def refuse(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def page(request: dict, field: str, items: list, most: int, size: str = "MaxResults", token: str = "NextToken") -> dict:
    wanted = request.get(size, most)
    assert 1 <= wanted <= most, f"{size} is {wanted}, of {most} at most"
    first = int(request.get(token) or 0)
    rest = {token: str(first + wanted)} if first + wanted < len(items) else {}
    return {field: items[first : first + wanted], **rest}


def tags(known: dict[str, str]) -> list[dict]:
    return [{"Key": key, "Value": value} for key, value in known.items()]


# Images and snapshots.


def describe_images(account: "Account", request: dict) -> dict:
    assert request["Owners"] == ["self"]
    found = []
    for id, image in account.images.items():
        if image["State"] == "disabled" and not request.get("IncludeDisabled"):
            continue
        users = request.get("ExecutableUsers")
        if users and not set(users) & set(image["permissions"]):
            continue
        mappings = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": one}} for one in image["snapshots"]]
        found.append(
            {
                "ImageId": id,
                "Name": image["Name"],
                "State": image["State"],
                "CreationDate": image["created"].strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "Public": "all" in image["permissions"],
                "Tags": tags(image["tags"]),
                "BlockDeviceMappings": [*mappings, {"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}],
                "DeregistrationProtection": image.get("protection", "disabled"),
            }
        )
    return page(request, "Images", found, 1000)


def describe_image_attribute(account: "Account", request: dict) -> dict:
    assert request["Attribute"] == "launchPermission"

    def permission(one: str) -> dict:
        if one == "all":
            return {"Group": one}
        return {"OrganizationArn": one} if one.startswith("arn:") else {"UserId": one}

    permissions = the_image(account, request)["permissions"]
    return {"ImageId": request["ImageId"], "LaunchPermissions": [permission(one) for one in permissions]}


def describe_snapshots(account: "Account", request: dict) -> dict:
    assert request["OwnerIds"] == ["self"]
    found = [
        {
            "SnapshotId": id,
            "StartTime": one["created"],
            "State": one["State"],
            "VolumeSize": one["gib"],
            "Tags": tags(one["tags"]),
        }
        for id, one in account.snapshots.items()
    ]
    return page(request, "Snapshots", found, 1000)


def the_image(account: "Account", request: dict) -> dict:
    if request["ImageId"] not in account.images:
        raise refuse("InvalidAMIID.NotFound", f"The image id '[{request['ImageId']}]' does not exist")
    return account.images[request["ImageId"]]


def disable_image(account: "Account", request: dict) -> dict:
    image = the_image(account, request)
    assert image["State"] == "available", "what EC2 answers to a second time is not documented"
    image |= {"State": "disabled", "permissions": []}
    return {"Return": True}


def enable_image(account: "Account", request: dict) -> dict:
    image = the_image(account, request)
    assert image["State"] == "disabled"
    image["State"] = "available"
    return {"Return": True}


def modify_image_attribute(account: "Account", request: dict) -> dict:
    image = the_image(account, request)
    assert image["State"] == "available", "a disabled image cannot be shared"
    added = request["LaunchPermission"]["Add"]
    image["permissions"] = sorted({*image["permissions"], *(one.get("UserId") or one["Group"] for one in added)})
    return {}


def recycled(account: "Account", resource: str, id: str, known: dict[str, str]) -> None:
    account.deleted.add(id)
    for rule in account.rules:
        pairs = [(tag["ResourceTagKey"], tag.get("ResourceTagValue")) for tag in rule.get("ResourceTags", [])]
        if rule["ResourceType"] == resource and (not pairs or any(known.get(key) == value for key, value in pairs)):
            account.bin.add(id)


def deregister_image(account: "Account", request: dict) -> dict:
    image = the_image(account, request)
    assert image.get("protection", "disabled") == "disabled"
    del account.images[request["ImageId"]]
    recycled(account, "EC2_IMAGE", request["ImageId"], image["tags"])
    results = []
    for id in image["snapshots"] if request.get("DeleteAssociatedSnapshots") else []:
        used = any(id in other["snapshots"] for other in account.images.values())
        results.append({"SnapshotId": id, "ReturnCode": "skipped" if used else "success"})
        if not used:
            recycled(account, "EBS_SNAPSHOT", id, account.snapshots.pop(id)["tags"])
    return {"Return": True, "DeleteSnapshotResults": results}


def delete_snapshot(account: "Account", request: dict) -> dict:
    id = request["SnapshotId"]
    if id not in account.snapshots:
        raise refuse("InvalidSnapshot.NotFound", f"The snapshot '{id}' does not exist.")
    if any(id in image["snapshots"] for image in account.images.values()):
        raise refuse("InvalidSnapshot.InUse", f"The snapshot {id} is currently in use by an image")
    recycled(account, "EBS_SNAPSHOT", id, account.snapshots.pop(id)["tags"])
    return {}


def create_tags(account: "Account", request: dict) -> dict:
    assert len(request["Resources"]) <= 1000
    for tag in request["Tags"]:
        assert len(tag["Key"]) <= 127 and len(tag["Value"]) <= 255
    for known in [account.tagged(id) for id in request["Resources"]]:
        known |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    return {}


def delete_tags(account: "Account", request: dict) -> dict:
    assert len(request["Resources"]) <= 1000
    for known in [account.tagged(id) for id in request["Resources"]]:
        for tag in request["Tags"]:
            known.pop(tag["Key"], None)
    return {}


def describe_image_references(account: "Account", request: dict) -> dict:
    assert len(request["ImageIds"]) <= 10
    wanted = {one["ResourceType"]: one.get("ResourceTypeOptions", []) for one in request["ResourceTypes"]}
    options = {type: given[0]["OptionValues"] for type, given in wanted.items() if given}
    found = []

    def refer(image: str, type: str, arn: str) -> None:
        if image in request["ImageIds"] and type in wanted:
            found.append({"ImageId": image, "ResourceType": type, "Arn": f"arn:aws:{arn}"})

    for instance in account.instances:
        if instance["state"] in options["ec2:Instance"]:
            refer(instance["image"], "ec2:Instance", f"ec2:eu-central-1:123456789012:instance/{instance['id']}")
    for id, template in account.templates.items():
        depth = int(options["ec2:LaunchTemplate"][0])
        newest = sorted(template["versions"], reverse=True)[:depth]
        for image in {template["versions"][version].get("ImageId", "") for version in newest}:
            refer(image, "ec2:LaunchTemplate", f"ec2:eu-central-1:123456789012:launch-template/{id}")
    for name, values in account.parameters.items():
        refer(values[-1], "ssm:Parameter", f"ssm:eu-central-1:123456789012:parameter{name}")
    for image, recipe in account.recipes.items():
        refer(image, "imagebuilder:ImageRecipe", f"imagebuilder:eu-central-1:123456789012:image-recipe/{recipe}")
    return page(request, "ImageReferences", found, 1000)


def create_image_usage_report(account: "Account", request: dict) -> dict:
    the_image(account, request)
    report = {"ImageId": request["ImageId"], "ReportId": account.id("report"), "CreationTime": account.now}
    account.reports.append(report)
    return {"ReportId": report["ReportId"]}


def describe_image_usage_reports(account: "Account", request: dict) -> dict:
    assert len(request["ImageIds"]) <= 200
    found = []
    for report in account.reports:
        if report["ImageId"] in request["ImageIds"]:
            ready = account.now - report["CreationTime"] >= account.report_takes
            found.append({**report, "State": "available" if ready else "pending"})
    return page(request, "ImageUsageReports", found, 1000)


def describe_image_usage_report_entries(account: "Account", request: dict) -> dict:
    assert len(request["ReportIds"]) <= 200
    found = []
    for report in account.reports:
        if report["ReportId"] in request["ReportIds"]:
            for user, type, count in account.usage.get(report["ImageId"], []):
                entry = {"AccountId": user, "ResourceType": type, "UsageCount": count}
                found.append({"ImageId": report["ImageId"], "ReportId": report["ReportId"], **entry})
    return page(request, "ImageUsageReportEntries", found, 1000)


# Launch templates, instances and fleets.


def describe_launch_templates(account: "Account", request: dict) -> dict:
    found = [
        {
            "LaunchTemplateId": id,
            "LaunchTemplateName": template["name"],
            "DefaultVersionNumber": template["default"],
            "LatestVersionNumber": max(template["versions"]),
            "Tags": tags(template["tags"]),
        }
        for id, template in account.templates.items()
    ]
    return page(request, "LaunchTemplates", found, 200)


def describe_launch_template_versions(account: "Account", request: dict) -> dict:
    found = []
    for id in [request["LaunchTemplateId"]] if "LaunchTemplateId" in request else account.templates:
        versions = account.templates[id]["versions"]
        if "LaunchTemplateId" not in request:
            assert request["Versions"] == ["$Latest"]
        for number in sorted(versions, reverse=True) if "LaunchTemplateId" in request else [max(versions)]:
            made = {"VersionNumber": number, "CreateTime": datetime(2026, 1, 1, tzinfo=UTC)}
            found.append({"LaunchTemplateId": id, **made, "LaunchTemplateData": versions[number]})
    return page(request, "LaunchTemplateVersions", found, 200)


def delete_launch_template_versions(account: "Account", request: dict) -> dict:
    assert len(request["Versions"]) <= 200
    id, template = request["LaunchTemplateId"], account.templates[request["LaunchTemplateId"]]
    done = []
    for version in map(int, request["Versions"]):
        assert version != template["default"]
        del template["versions"][version]
        account.deleted.add(f"{id}:{version}")
        done.append({"LaunchTemplateId": id, "VersionNumber": version})
    return {"SuccessfullyDeletedLaunchTemplateVersions": done, "UnsuccessfullyDeletedLaunchTemplateVersions": []}


def describe_instances(account: "Account", request: dict) -> dict:
    (states,) = [one["Values"] for one in request["Filters"] if one["Name"] == "instance-state-name"]
    found = [
        {"InstanceId": one["id"], "ImageId": one["image"], "Tags": tags(one.get("tags", {}))}
        for one in account.instances
        if one["state"] in states
    ]
    return page(request, "Reservations", [{"Instances": [one]} for one in found], 1000)


def describe_fleets(account: "Account", request: dict) -> dict:
    return page(request, "Fleets", account.fleets, 1000)


def describe_spot_fleet_requests(_account: "Account", request: dict) -> dict:
    return page(request, "SpotFleetRequestConfigs", [], 1000)


def describe_auto_scaling_groups(account: "Account", request: dict) -> dict:
    return page(request, "AutoScalingGroups", account.groups, 100, "MaxRecords")


def describe_launch_configurations(account: "Account", request: dict) -> dict:
    return page(request, "LaunchConfigurations", account.launch_configurations, 100, "MaxRecords")


# Other services.


def describe_stacks(account: "Account", request: dict) -> dict:
    created = {"CreationTime": account.now, "StackStatus": "CREATE_COMPLETE"}
    return page(request, "Stacks", [{**created, **stack} for stack in account.stacks], 50)


def describe_parameters(account: "Account", request: dict) -> dict:
    assert request["ParameterFilters"] == [{"Key": "DataType", "Option": "Equals", "Values": ["aws:ec2:image"]}]
    found = [{"Name": name, "DataType": "aws:ec2:image"} for name in account.parameters]
    return page(request, "Parameters", found, 50)


def get_parameters(account: "Account", request: dict) -> dict:
    assert len(request["Names"]) <= 10
    found, missing = [], []
    for wanted in request["Names"]:
        if wanted.startswith("/aws/"):
            raise refuse("AccessDeniedException", "The role of housekeeping.yaml may not read it")
        name = next((name for name in account.parameters if f"{wanted}:".startswith(f"{name}:")), "")
        selector = wanted[len(name) + 1 :]
        values = account.parameters.get(name, [])
        number = int(selector) if selector.isdigit() else account.labels.get((name, selector), 0)
        number = number if selector else len(values)
        if 0 < number <= len(values):
            extra = {"Selector": f":{selector}"} if selector else {}
            found.append({"Name": name, "Value": values[number - 1], "Version": number, **extra})
        else:
            missing.append(wanted)
    return {"Parameters": found} | ({"InvalidParameters": missing} if missing else {})


def describe_db_snapshots(account: "Account", request: dict) -> dict:
    return page(
        request, "DBSnapshots", described(account, account.databases, "DBSnapshot"), 100, "MaxRecords", "Marker"
    )


def describe_db_cluster_snapshots(account: "Account", request: dict) -> dict:
    found = described(account, account.clusters, "DBClusterSnapshot")
    return page(request, "DBClusterSnapshots", found, 100, "MaxRecords", "Marker")


def described(account: "Account", known: dict[str, dict], word: str) -> list[dict]:
    return [
        {
            f"{word}Identifier": name,
            f"{word}Arn": f"arn:aws:rds:eu-central-1:123456789012:{word.lower()}:{name}",
            "SnapshotCreateTime": one["created"],
            "Status": one["State"],
            "AllocatedStorage": one["gib"],
            "TagList": tags(one["tags"]),
        }
        for name, one in known.items()
    ]


def of_arn(account: "Account", arn: str) -> dict:
    return (account.clusters if "cluster" in arn else account.databases)[arn.rpartition(":")[2]]


def add_tags_to_resource(account: "Account", request: dict) -> dict:
    of_arn(account, request["ResourceName"])["tags"] |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
    return {}


def remove_tags_from_resource(account: "Account", request: dict) -> dict:
    for key in request["TagKeys"]:
        of_arn(account, request["ResourceName"])["tags"].pop(key, None)
    return {}


def delete_db_snapshot(account: "Account", request: dict) -> dict:
    return deleted_database(account, account.databases, request["DBSnapshotIdentifier"], "DBSnapshotNotFound")


def delete_db_cluster_snapshot(account: "Account", request: dict) -> dict:
    name = request["DBClusterSnapshotIdentifier"]
    return deleted_database(account, account.clusters, name, "DBClusterSnapshotNotFoundFault")


def deleted_database(account: "Account", known: dict[str, dict], name: str, missing: str) -> dict:
    if known.pop(name, None) is None:
        raise refuse(missing, f"{name} not found")
    account.deleted.add(name)
    return {}


def list_rules(account: "Account", request: dict) -> dict:
    found = [rule for rule in account.rules if rule["ResourceType"] == request["ResourceType"]]
    return page(request, "Rules", [{"Identifier": rule["Identifier"]} for rule in found], 1000)


def get_rule(account: "Account", request: dict) -> dict:
    (rule,) = [rule for rule in account.rules if rule["Identifier"] == request["Identifier"]]
    return {"Status": "available", **rule}


def get_caller_identity(_account: "Account", _request: dict) -> dict:
    return {"Account": "123456789012"}


def list_objects_v2(account: "Account", request: dict) -> dict:
    found = [{"Key": key} for key in sorted(account.objects) if key.startswith(request["Prefix"])]
    first = int(request.get("ContinuationToken") or 0)
    more = first + 1000 < len(found)
    rest = {"NextContinuationToken": str(first + 1000)} if more else {}
    return {"Contents": found[first : first + 1000], "IsTruncated": more, **rest}


def get_object(account: "Account", request: dict) -> dict[str, Any]:
    if request["Key"] not in account.objects:
        raise refuse("NoSuchKey", "The specified key does not exist.")
    return {"Body": io.BytesIO(account.objects[request["Key"]].encode())}
