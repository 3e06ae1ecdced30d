"""Databases that RDS restores: moto says where a real PostgreSQL on loopback is, and sets passwords in it."""


import pytest
from harness.agent import DONE, FAILED, Agent, document, until
from harness.aws.rds import MANAGED as BY_RDS
from harness.aws.restore import report
from harness.host import databases
from harness.host.databases import ADMIN, PASSWORD, MariaDb, Postgres

SECRET = "hunter'2 set by ingot"
CREDENTIALS = {"username": "shop", "password": SECRET, "dbname": "shop"}
TAGS = {"app": "shop", "role": "db"}


@pytest.fixture(params=["postgres", "mysql"])
def server(request, aws):
    yield from served({"postgres": Postgres, "mysql": MariaDb}[request.param], aws)


@pytest.fixture
def postgres(aws):
    yield from served(Postgres, aws)


def served(kind, aws):
    """A server as a snapshot would have it: the master user has a password that nobody knows. RDS says that it is here."""
    if why := databases.missing():
        pytest.skip(why)
    with kind() as server:
        server.start()
        server.wait()
        server.user("shop", "of the snapshot", database="shop")
        admin = {"engine": server.engine, "user": ADMIN, "password": PASSWORD}
        aws.rds(port=server.port, admin=admin)
        aws.db_snapshot("golden", TAGS, engine=server.engine)
        aws.secret("db", CREDENTIALS)
        yield server


def restored(**fields) -> str:
    database = {
        "instance": "shop-prod",
        "restore_from": {"snapshot": "golden", "class": "db.m7g.large", "tags": {"team": "web & more"}},
        "credentials": "secrets.db",
        "timeout": "60s",
        **fields,
    }
    return document(secrets={"db": {"secrets_manager": "db"}}, databases={"main": database})


def changes(result) -> list[str]:
    return result.step("databases.main")["changes"]


RESTORE = "restore database shop-prod from snapshot golden"
SET_PASSWORD = "set the master password of shop-prod to that of secrets.db"


def waiting(agent) -> str:
    return "".join(step["waiting"] or "" for step in report(agent)["steps"] if step["address"] == "databases.main")


def fails(agent, text: str, *said: str) -> str:
    result = agent.boot(text)
    assert result.code == FAILED, result
    why = result.failure("databases.main")
    assert all(part in why for part in said) and "hint: None" not in why, why
    assert agent.leaks(result, [SECRET]) == [], result
    return why


def test_a_database_is_restored_and_gets_its_password(agent, aws, server):
    result = agent.boot(restored())
    assert result.code == DONE and changes(result) == [RESTORE, SET_PASSWORD], result
    assert agent.leaks(result, [SECRET]) == [], result
    server.connect("shop", SECRET, "shop").close()
    [made] = aws.databases()
    assert made["Tags"] == {"ingot:restored-from": "golden", "team": "web & more"}
    assert aws.count("RestoreDBInstanceFromDBSnapshot") == aws.count("ModifyDBInstance") == 1
    second = agent.boot(restored())
    assert second.code == DONE and second.outcomes()["databases.main"] == "unchanged", second
    assert aws.count("ModifyDBInstance") == 1


def test_each_field_is_where_rds_wants_it(agent, aws, postgres):
    aws.client("rds").create_db_parameter_group(
        DBParameterGroupName="shop", DBParameterGroupFamily="postgres17", Description="shop"
    )
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{n}.0/24", AvailabilityZone=f"eu-central-1{zone}")["Subnet"]["SubnetId"]
        for n, zone in enumerate("ab")
    ]
    aws.client("rds").create_db_subnet_group(DBSubnetGroupName="shop", DBSubnetGroupDescription="shop", SubnetIds=subnets)
    group = ec2.create_security_group(VpcId=vpc, GroupName="db", Description="db")["GroupId"]
    from_ = {
        "snapshot": "golden", "class": "db.m7g.large", "subnet_group": "shop", "security_groups": [group],
        "parameter_group": "shop", "tags": {"team": "web"},
    }  # fmt: skip
    result = agent.boot(restored(restore_from=from_))
    assert result.code == DONE, result
    [restore] = aws.calls("RestoreDBInstanceFromDBSnapshot")
    assert restore["signed"] and restore["form"] == {
        "Action": "RestoreDBInstanceFromDBSnapshot",
        "Version": "2014-10-31",
        "DBInstanceIdentifier": "shop-prod",
        "DBSnapshotIdentifier": "golden",
        "DBInstanceClass": "db.m7g.large",
        "DBSubnetGroupName": "shop",
        "DBParameterGroupName": "shop",
        "VpcSecurityGroupIds.VpcSecurityGroupId.1": group,
        "Tags.Tag.1.Key": "ingot:password",
        "Tags.Tag.1.Value": "pending",
        "Tags.Tag.2.Key": "ingot:restored-from",
        "Tags.Tag.2.Value": "golden",
        "Tags.Tag.3.Key": "team",
        "Tags.Tag.3.Value": "web",
    }
    [modify] = aws.calls("ModifyDBInstance")
    assert modify["form"]["MasterUserPassword"] == SECRET and modify["form"]["ApplyImmediately"] == "true"


def test_the_newest_snapshot_with_tags(agent, aws, postgres):
    aws.db_snapshot("newer", TAGS)
    aws.db_snapshot("of-another", {"app": "blog"})
    result = agent.boot(restored(restore_from={"snapshot": {"newest_with_tags": TAGS}}))
    assert result.code == DONE and changes(result)[0].endswith("from snapshot newer"), result


def test_no_snapshot_with_these_tags(agent, aws, postgres):
    fails(agent, restored(restore_from={"snapshot": {"newest_with_tags": {"app": "none"}}}), "no snapshot with app=none is available")
    fails(agent, restored(restore_from={"snapshot": "none"}), "RestoreDBInstanceFromDBSnapshot", "name a snapshot in this region")


def test_a_cluster_gets_an_instance_and_its_password(agent, aws, postgres):
    aws.db_cluster_snapshot("golden-cluster")
    fields = {"instance": None, "cluster": "shop-cluster", "restore_from": {"snapshot": "golden-cluster", "class": "db.r7g.large"}}
    text = restored(**fields).replace('"instance": null,', "")
    result = agent.boot(text)
    assert result.code == DONE, result
    assert changes(result) == [
        "restore cluster shop-cluster from snapshot golden-cluster",
        "create instance shop-cluster-1 in cluster shop-cluster",
        "set the master password of shop-cluster to that of secrets.db",
    ]
    [member] = aws.databases()
    assert (member["DBInstanceIdentifier"], member["DBClusterIdentifier"]) == ("shop-cluster-1", "shop-cluster")
    second = agent.boot(text)
    assert second.code == DONE and second.outcomes()["databases.main"] == "unchanged", second


def test_a_fleet_makes_one_database(ingot, tmp_path, aws, imds, postgres):
    aws.rds(hidden=2, password_after=1)
    aws.latency(0.05)
    agents = []
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        agents.append(Agent(tmp_path / str(number), {**imds.env, **aws.env}))
    results = [running.wait() for running in [agent.start_boot(restored()) for agent in agents]]
    assert all(result.code == DONE for result in results), results
    assert len(aws.databases()) == 1
    made = [call for call in aws.calls("RestoreDBInstanceFromDBSnapshot") if call["status"] == 200]
    assert len(made) == 1 and aws.databases()[0]["Tags"] == {"ingot:restored-from": "golden", "team": "web & more"}


@pytest.mark.parametrize("change", ["RestoreDBInstanceFromDBSnapshot", "ModifyDBInstance", "RemoveTagsFromResource"])
def test_killed_after_a_change_another_boot_makes_it_good(agent, aws, postgres, change):
    aws.fault("delay", operation=change, seconds=0.3, times=1)
    running = agent.start_boot(restored())
    until(change, lambda: aws.count(change) == 1, running)
    running.kill()
    running.wait()
    until("the call", lambda: "status" in aws.calls(change)[0])
    result = agent.boot(restored())
    assert result.code == DONE, result
    postgres.connect("shop", SECRET, "shop").close()
    assert "ingot:password" not in aws.databases()[0]["Tags"]


@pytest.mark.parametrize("kind", ["throttled", "internal", "drop", "malformed"])
def test_a_bad_day_of_rds_is_sat_out(agent, aws, postgres, kind):
    for operation in ("DescribeDBInstances", "RestoreDBInstanceFromDBSnapshot", "ModifyDBInstance", "RemoveTagsFromResource"):
        aws.fault(kind, operation=operation, times=2)
    result = agent.boot(restored())
    assert result.code == DONE and len(aws.databases()) == 1, result
    postgres.connect("shop", SECRET, "shop").close()


def test_what_rds_says_meanwhile_is_shown(agent, aws, postgres):
    postgres.stop()
    aws.rds(hidden=3, status="backing-up")
    running = agent.start_boot(restored())
    until("creating", lambda: "for RDS to create shop-prod (creating)" in waiting(agent), running)
    until("backing-up", lambda: "refuses connections; RDS: backing-up" in waiting(agent), running)
    postgres.start()
    assert running.wait().code == DONE


def test_a_database_that_is_busy_gets_its_password_later(agent, aws, postgres):
    aws.rds(busy=3, password_after=1)
    running = agent.start_boot(restored())
    until("busy", lambda: "a state in which its password can be set" in waiting(agent), running)
    assert running.wait().code == DONE
    assert aws.count("ModifyDBInstance") >= 2


def test_backing_up_for_hours_is_no_reason_to_wait(agent, aws, postgres):
    aws.rds(status="backing-up")
    assert agent.boot(restored()).code == DONE


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("stopped", "aws rds start-db-instance --db-instance-identifier shop-prod"),
        ("incompatible-parameters", "parameter group"),
        ("inaccessible-encryption-credentials", "KMS key"),
        ("storage-full", "--allocated-storage"),
        ("failed", "describe-events"),
    ],
)
def test_a_state_without_hope_is_an_error_at_once(agent, aws, postgres, status, hint):
    agent.boot(restored())
    aws.rds(status=status)
    fails(agent, restored(), f"RDS reports shop-prod as {status}", hint)


def test_a_state_that_becomes_hopeless_ends_the_wait(agent, aws, postgres):
    aws.rds(hidden=600)
    running = agent.start_boot(restored())
    until("creating", lambda: "(creating)" in waiting(agent), running)
    aws.rds(hidden=0, status="failed")
    result = running.wait()
    assert result.code == FAILED and "RDS reports shop-prod as failed" in result.failure("databases.main"), result


def test_a_wrong_password_of_a_database_that_is_not_ours_is_final(agent, aws, postgres):
    text = restored()
    assert agent.boot(text).code == DONE
    aws.secret("db", {**CREDENTIALS, "password": "another"})
    fails(agent, text, "refused the user name and password")
    assert aws.count("ModifyDBInstance") == 1


def test_another_master_user_than_the_secrets(agent, aws, postgres):
    aws.secret("db", {**CREDENTIALS, "username": "root"})
    fails(agent, restored(), "the master user of shop-prod is shop", "secrets.db belongs to another user")
    assert aws.count("ModifyDBInstance") == 0


def test_a_database_that_nobody_makes(agent, aws, postgres):
    text = document(databases={"main": {"instance": "none", "timeout": "20s"}})
    fails(agent, text, "RDS has no instance none", "restore_from")


def test_what_the_role_may_not_do_is_named(agent, aws, postgres):
    aws.fault("denied", operation="RestoreDBInstanceFromDBSnapshot")
    fails(agent, restored(), "access denied", "rds:RestoreDBInstanceFromDBSnapshot")


# Passwords that RDS manages.


MANAGED = {
    "databases": {"main": {
        "instance": "shop-prod", "restore_from": {"snapshot": "golden"}, "credentials": "managed", "timeout": "100s",
    }},
    "files": {"/etc/db": {"content": "{{databases.main.username}} {{databases.main.password}}"}},
}  # fmt: skip


def test_rds_is_told_to_manage_the_password_of_what_it_restores(agent, aws, server):
    aws.rds(busy=1, password_after=1)
    result = agent.boot(document(**MANAGED))
    assert result.code == DONE, result
    assert changes(result) == [RESTORE, "have RDS manage the master password of shop-prod"]
    assert agent.read("/etc/db") == f"shop {BY_RDS}" and agent.mode("/etc/db") == "0600"
    assert agent.leaks(result, [BY_RDS]) == [], result
    server.connect("shop", BY_RDS, "shop").close()
    [made] = aws.databases()
    assert made["Tags"] == {"ingot:restored-from": "golden"}
    second = agent.boot(document(**MANAGED))
    assert second.code == DONE and second.outcomes()["databases.main"] == "unchanged", second
    [modified] = [call for call in aws.calls("ModifyDBInstance") if call["status"] == 200]
    assert modified["form"]["ManageMasterUserPassword"] == "true" and "MasterUserPassword" not in modified["form"]


def test_a_managed_password_that_is_being_rotated_is_read_again(agent, aws, server):
    assert agent.boot(document(**MANAGED)).code == DONE
    secret = aws.databases()[0]["MasterUserSecret"]["SecretArn"]
    aws.secret(secret, {"username": "shop", "password": "the one before"})
    server.stop()
    running = agent.start_boot(document(**MANAGED))
    until("the wait", lambda: "refuses connections" in waiting(agent), running)
    aws.secret(secret, {"username": "shop", "password": BY_RDS})
    server.start()
    result = running.wait()
    assert result.code == DONE and agent.read("/etc/db") == f"shop {BY_RDS}", result


def test_a_password_that_rds_does_not_manage(agent, aws, postgres):
    assert agent.boot(restored()).code == DONE
    fails(agent, document(**MANAGED), "RDS does not manage the master password of shop-prod", "--manage-master-user-password")


def test_a_managed_secret_that_the_role_may_not_read(agent, aws, postgres):
    aws.fault("denied", operation="GetSecretValue")
    fails(agent, document(**MANAGED), "GetSecretValue", "access denied", "allow secretsmanager:GetSecretValue")


# Aurora Serverless v2.


def test_a_serverless_cluster_is_told_its_capacity(agent, aws, postgres):
    aws.db_cluster_snapshot("golden-cluster")
    from_ = {"snapshot": "golden-cluster", "serverless": {"min_capacity": 0.5, "max_capacity": 8}}
    database = {"cluster": "shop-cluster", "restore_from": from_, "credentials": "secrets.db", "timeout": "60s"}
    result = agent.boot(document(secrets={"db": {"secrets_manager": "db"}}, databases={"main": database}))
    assert result.code == DONE, result
    assert changes(result)[0] == "restore cluster shop-cluster from snapshot golden-cluster, with 0.5 to 8 capacity units"
    [restore] = aws.calls("RestoreDBClusterFromSnapshot")
    given = {key.split(".")[1]: value for key, value in restore["form"].items() if key.startswith("ServerlessV2")}
    assert given == {"MinCapacity": "0.5", "MaxCapacity": "8"}
    [member] = aws.calls("CreateDBInstance")[-1:]
    assert member["form"]["DBInstanceClass"] == "db.serverless"


def test_a_login_that_was_not_asked_for_takes_no_tag_away(agent, aws, postgres):
    """Whoever answers in place of the database could say so."""
    postgres.stop()
    postgres.hba("host all shop 127.0.0.1/32 trust", "host all harness 127.0.0.1/32 scram-sha-256")
    postgres.start()
    postgres.wait()
    fails(agent, restored(), "without asking for the password")
    assert aws.databases()[0]["Tags"]["ingot:password"] == "pending" and aws.count("RemoveTagsFromResource") == 0
