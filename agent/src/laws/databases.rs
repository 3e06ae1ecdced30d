//! One database for a whole fleet, whatever RDS does and whenever a boot is interrupted; and only our own database ever
//! gets a password set.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::aws::rds::{Database, Kind, Rds as _, Snapshot};
use crate::aws::{SecretRequest, SecretValue};
use crate::fake::aws::{BY_RDS, FakeParameterStore, FakeRds, FakeSecretsManager, Pace, managed};
use crate::host::Clock as _;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance, REGION};
use crate::net::databases::{Refusal, Said, Verdict};
use crate::report::BootOutcome;

const SECRET: &str = r#"{"username": "shop", "password": "hunter2hunter2"}"#;
const ENDPOINT: &str = "shop.made-up.eu-central-1.rds.amazonaws.com:5432";

const RESTORED: &str = "
version: 1
secrets: { db: { secrets_manager: db } }
databases:
  main: { instance: shop, restore_from: { snapshot: golden }, credentials: secrets.db }
";

const WAITED_FOR: &str = "
version: 1
secrets: { db: { secrets_manager: db } }
databases:
  main: { instance: shop, credentials: secrets.db, timeout: 10m }
";

/// As slow as RDS: an endpoint after five minutes, logins after twelve, `backing-up` for hours.
fn slow() -> Pace {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    Pace { endpoint: minutes(5), logins: minutes(12), available: minutes(300), ends_in: None }
}

/// An instance in an account with a snapshot of a database whose master user is `shop`.
fn instance(text: &str) -> Instance {
    let secrets = FakeSecretsManager::default().with("db", SECRET);
    let mut instance = Instance::with_aws(&Example::of(text), secrets, FakeParameterStore::default());
    instance.machine.stop_inventing_disks();
    let tags = BTreeMap::from([("master".to_owned(), "shop".to_owned())]);
    let (created, engine) = ("2026-01-01T00:00:00Z".into(), "postgres".into());
    let snapshot = Snapshot { id: "golden".into(), status: "available".into(), created, engine, tags };
    instance.rds = Rc::new(FakeRds::new(instance.machine.clone(), REGION).with_snapshot(Kind::Instance, snapshot));
    instance
}

/// An instance in an account with a database that accepts logins with `password`.
fn beside(password: &str) -> Instance {
    let mut instance = instance(WAITED_FOR);
    let database = Database { engine: "postgres".into(), master_user: "shop".into(), ..Database::default() };
    let rds = FakeRds::new(instance.machine.clone(), REGION);
    instance.rds = Rc::new(rds.with_database(Kind::Instance, "shop", database, Some(password.into())));
    instance
}

fn database(instance: &Instance) -> Database {
    instance.rds.now(Kind::Instance, "shop").unwrap()
}

fn is_settled(instance: &Instance) -> bool {
    database(instance).tags.keys().map(String::as_str).collect::<Vec<_>>() == ["ingot:restored-from"]
}

fn took(booted: &Booted) -> Duration {
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == "databases.main").unwrap();
    Duration::from_secs_f64((step.finished_ms.unwrap() - step.started_ms.unwrap()) / 1e3)
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_known_to_be_ready_as_soon_as_it_takes_logins() {
    let instance = instance(RESTORED);
    instance.rds.set_pace(slow());
    let booted = instance.boot_well().await;
    let late = took(&booted).checked_sub(slow().logins).unwrap();
    // The remaining time is what RDS needs to show that a tag is gone.
    assert!(late < Duration::from_millis(250), "{late:?}");
    assert_eq!(database(&instance).status, "backing-up");
    assert!(is_settled(&instance));
    // RDS is not polled ten times a second for twelve minutes.
    assert!(instance.rds.count("DescribeDBInstances") < 80, "{}", instance.rds.count("DescribeDBInstances"));
}

#[tokio::test(start_paused = true)]
async fn ten_instances_make_one_database() {
    let first = instance(RESTORED);
    first.rds.set_pace(slow());
    let mut fleet = vec![first];
    for _ in 1..10 {
        let mut another = instance(RESTORED);
        another.rds = fleet[0].rds.clone();
        another.machine.join(fleet[0].machine.network());
        fleet.push(another);
    }
    let booted = join_all(fleet.iter().map(Instance::boot)).await;
    assert!(booted.iter().all(|booted| booted.report.outcome == BootOutcome::Done));
    assert!(is_settled(&fleet[0]));
    let asked = fleet[0].rds.count("RestoreDBInstanceFromDBSnapshot");
    assert!((1..=10).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_leaves_nothing_that_another_cannot_make_good() {
    let seconds = Duration::from_secs;
    let pace = Pace { endpoint: seconds(3), logins: seconds(5), ..slow() };
    // Until a boot survives: how often a report is written during the wait is random.
    for count in 0.. {
        let first = instance(RESTORED);
        first.rds.set_pace(pace.clone());
        first.machine.die_after(count);
        tokio::select! {
            biased;
            () = first.machine.died() => {}
            _ = first.boot() => break,
        }
        first.machine.restart_process();
        first.boot_well().await;
        assert!(is_settled(&first), "killed in change {count}");
        assert_eq!(first.boot_well().await.changed(), [""; 0], "killed in change {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_makes_no_second_database() {
    for operation in ["RestoreDBInstanceFromDBSnapshot", "ModifyDBInstance", "RemoveTagsFromResource"] {
        let instance = instance(RESTORED);
        instance.rds.set_pace(slow());
        instance.rds.lose_answers(operation, 2);
        instance.boot_well().await;
        assert!(is_settled(&instance), "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_in_a_state_to_take_no_password_gets_it_later() {
    let instance = instance(RESTORED);
    instance.rds.set_pace(slow());
    instance.rds.fail("ModifyDBInstance", "InvalidDBInstanceState", 5);
    instance.boot_well().await;
    assert!(is_settled(&instance) && instance.rds.count("ModifyDBInstance") == 6);
}

/// Every instance of a fleet used to set it in turn, because a server that is not verified cannot prove that it has
/// checked the password.
#[tokio::test(start_paused = true)]
async fn a_password_that_another_instance_has_set_is_not_set_again() {
    let instance = instance(RESTORED);
    instance.rds.set_pace(slow());
    instance.rds.fail("ModifyDBInstance", "InvalidDBInstanceState", 1);
    let another = async {
        while instance.rds.count("ModifyDBInstance") == 0 {
            instance.machine.host().clock.sleep(Duration::from_millis(10)).await;
        }
        let password = Some("hunter2hunter2".into());
        instance.machine.network().change(ENDPOINT, |server| (server.password, server.is_doubtful) = (password, true));
        instance.rds.remove_tag(&database(&instance).arn, "ingot:password").await.unwrap();
    };
    tokio::join!(instance.boot_well(), another);
    assert!(is_settled(&instance) && instance.rds.count("ModifyDBInstance") == 1);
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_fails_ends_the_wait() {
    for ends_in in ["failed", "incompatible-network"] {
        let instance = instance(RESTORED);
        let pace = Pace { logins: Duration::MAX / 2, available: Duration::from_secs(600), ends_in: Some(ends_in.into()), ..slow() };
        instance.rds.set_pace(pace);
        let booted = instance.boot().await;
        let error = booted.error("databases.main");
        assert!(error.starts_with(&format!("RDS reports shop as {ends_in}")), "{error}");
        assert!(took(&booted) < Duration::from_secs(640));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_whose_instances_have_all_failed_ends_the_wait() {
    let failed = Pace { logins: Duration::MAX / 2, ends_in: Some("failed".into()), ..Pace::default() };
    let well = Pace { logins: Duration::MAX / 2, ..Pace::default() };
    let of = |members: &[&str]| {
        let members = members.iter().map(ToString::to_string).collect();
        Database { engine: "aurora-postgresql".into(), members, ..Database::default() }
    };
    for (second, said) in [(&failed, "RDS reports shop-2 as failed"), (&well, "waited 600s")] {
        let mut instance = instance(&WAITED_FOR.replace("instance:", "cluster:"));
        let rds = FakeRds::new(instance.machine.clone(), REGION)
            .with_database_of(Kind::Cluster, "shop", of(&["shop-1", "shop-2"]), well.clone())
            .with_database_of(Kind::Instance, "shop-1", of(&[]), failed.clone())
            .with_database_of(Kind::Instance, "shop-2", of(&[]), second.clone());
        instance.rds = Rc::new(rds);
        let booted = instance.boot().await;
        let error = booted.error("databases.main");
        assert!(error.starts_with(said), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_not_ours_never_gets_a_password() {
    let instance = beside("somebody else's");
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("databases.main").replace(ENDPOINT, "SHOP"), @r"
    SHOP refused the user name and password (28P01: password authentication failed); read again, secrets.db has the same password
      hint: correct the user name and password in the secret, or in the database
    ");
    assert_eq!(instance.rds.count("ModifyDBInstance"), 0);
    // Read once more, in case it is being rotated at that moment.
    assert!(took(&booted) < Duration::from_secs(12));
    assert_eq!(instance.secrets.count("GetSecretValue"), 2);
}

/// A database with a rotated password, and a secret that gets the new password after `after`.
fn rotated(text: &str, after: Duration) -> Instance {
    let mut instance = instance(text);
    let database = Database { engine: "postgres".into(), master_user: "shop".into(), ..Database::default() };
    let rds = FakeRds::new(instance.machine.clone(), REGION);
    instance.rds = Rc::new(rds.with_database(Kind::Instance, "shop", database, Some("rotated".into())));
    let machine = instance.machine.clone();
    let value = move |_: &SecretRequest| {
        let password = if machine.elapsed() >= after { "rotated" } else { "hunter2hunter2" };
        Some(SecretValue::Text(format!(r#"{{"username": "shop", "password": "{password}"}}"#).as_str().into()))
    };
    instance.secrets = Rc::new(FakeSecretsManager::default().inventing(value));
    instance
}

const WITH_FILES: &str = "
version: 1
secrets: { db: { secrets_manager: db } }
databases: { main: { instance: shop, credentials: secrets.db, timeout: 10m } }
files:
  /etc/new: { content: '{{databases.main.username}} {{databases.main.password}}' }
";

#[tokio::test(start_paused = true)]
async fn a_password_that_is_being_rotated_is_read_again() {
    let instance = rotated(WITH_FILES, Duration::from_secs(4));
    instance.boot_well().await;
    assert_eq!(instance.machine.file("/etc/new").unwrap().0, "shop rotated");
    assert_eq!(instance.secrets.count("GetSecretValue"), 2);
}

#[tokio::test(start_paused = true)]
async fn who_has_used_the_old_password_is_named() {
    let text = format!(
        "{WITH_FILES}  /etc/user: {{ content: '{{{{secrets.db.username}}}}' }}\n  /etc/old: {{ content: '{{{{secrets.db.password}}}}' }}\n"
    );
    let instance = rotated(&text, Duration::from_secs(4));
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("databases.main"), @r"
    secrets.db changed during this boot, and files./etc/old already used its old value
      hint: run `ingot boot` again; to have a step wait for the password that is accepted, refer to `databases.main.password`
    ");
    // It is not written with a password that the database refuses, and the next boot writes all files.
    assert!(instance.machine.file("/etc/new").is_none());
    instance.boot_well().await;
    assert_eq!(instance.machine.file("/etc/old").unwrap().0, "rotated");
}

/// The old value may have been passed on through another database, which still accepts it.
#[tokio::test(start_paused = true)]
async fn who_has_used_the_old_password_of_another_database_is_named() {
    let text = "
version: 1
secrets: { db: { secrets_manager: db } }
databases:
  first: { instance: first, credentials: secrets.db }
  main: { instance: shop, credentials: secrets.db, after: [files./etc/old], timeout: 10m }
files:
  /etc/old: { content: '{{databases.first.password}}' }
  /etc/port: { content: '{{databases.first.port}}' }
";
    let mut instance = rotated(text, Duration::from_secs(4));
    let database = || Database { engine: "postgres".into(), master_user: "shop".into(), ..Database::default() };
    let rds = FakeRds::new(instance.machine.clone(), REGION)
        .with_database(Kind::Instance, "first", database(), Some("hunter2hunter2".into()))
        .with_database(Kind::Instance, "shop", database(), Some("rotated".into()));
    instance.rds = Rc::new(rds);
    let error = instance.boot().await.error("databases.main").to_owned();
    assert!(error.starts_with("secrets.db changed during this boot, and files./etc/old already used its old value"), "{error}");
}

/// The secret has the new password before the server accepts it.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_late_with_a_rotated_password_is_waited_for() {
    let instance = beside("the old one");
    let rotated = async {
        instance.machine.host().clock.sleep(Duration::from_secs(4)).await;
        instance.machine.network().change(ENDPOINT, |server| server.password = Some("hunter2hunter2".into()));
    };
    let (booted, ()) = tokio::join!(instance.boot_well(), rotated);
    assert!(took(&booted) < Duration::from_secs(7));
    assert_eq!(instance.secrets.count("GetSecretValue"), 1);
}

const MANAGED: &str = "
version: 1
databases: { main: { instance: shop, restore_from: { snapshot: golden }, credentials: managed, timeout: 30m } }
files: { /etc/db: { content: '{{databases.main.username}} {{databases.main.password}}' } }
";

/// An account in which RDS manages the password of `shop`.
fn managing(text: &str) -> Instance {
    let mut instance = instance(text);
    let secret = format!(r#"{{"username": "shop", "password": "{BY_RDS}"}}"#);
    instance.secrets = Rc::new(FakeSecretsManager::default().with(&managed("shop"), &secret));
    instance
}

#[tokio::test(start_paused = true)]
async fn a_password_that_rds_manages_is_read_from_its_own_secret() {
    let instance = managing(MANAGED);
    instance.rds.set_pace(slow());
    let booted = instance.boot_well().await;
    assert_eq!(
        booted.report.steps[0].changes,
        ["restore database shop from snapshot golden", "have RDS manage the master password of shop"]
    );
    assert_eq!(instance.machine.file("/etc/db").unwrap().0, format!("shop {BY_RDS}"));
    assert!(is_settled(&instance));
    assert_eq!(instance.boot_well().await.changed(), [""; 0]);
    assert_eq!(instance.rds.count("ModifyDBInstance"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_rds_does_not_manage_is_an_error_at_once() {
    let mut instance = managing(&MANAGED.replace("restore_from: { snapshot: golden }, ", ""));
    let database = Database { engine: "postgres".into(), master_user: "shop".into(), ..Database::default() };
    let rds = FakeRds::new(instance.machine.clone(), REGION);
    instance.rds = Rc::new(rds.with_database(Kind::Instance, "shop", database, None));
    insta::assert_snapshot!(instance.boot().await.error("databases.main"), @r"
    RDS does not manage the master password of shop
      hint: have RDS manage it (`aws rds modify-db-instance --db-instance-identifier shop --manage-master-user-password`; for a cluster `aws rds modify-db-cluster --db-cluster-identifier shop --manage-master-user-password`), or name a secret in `credentials:`
    ");
}

/// RDS stops managing it between the description of the database and the reading of its secret: files used to be
/// written with a placeholder.
#[tokio::test(start_paused = true)]
async fn a_password_that_rds_manages_no_longer_is_not_made_up() {
    let instance = managing(MANAGED);
    instance.boot_well().await;
    instance.rds.stop_managing_after(instance.rds.count("DescribeDBInstances") + 1);
    let error = instance.boot().await.error("databases.main").to_owned();
    assert!(error.starts_with("RDS does not manage the master password of shop"), "{error}");
    assert_eq!(instance.machine.file("/etc/db").unwrap().0, format!("shop {BY_RDS}"));
}

/// A server that impersonates an unverified one could accept any password.
#[tokio::test(start_paused = true)]
async fn a_login_that_proves_nothing_leaves_the_password_to_rds() {
    for is_doubtful in [true, false] {
        let mut instance = instance(RESTORED);
        let tags = [("ingot:restored-from", "golden"), ("ingot:password", "pending")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let database = Database { engine: "mysql".into(), master_user: "shop".into(), tags, ..Database::default() };
        let rds = FakeRds::new(instance.machine.clone(), REGION);
        instance.rds = Rc::new(rds.with_database(Kind::Instance, "shop", database, None));
        instance.machine.network().change(&ENDPOINT.replace("5432", "3306"), |server| server.is_doubtful = is_doubtful);
        instance.boot_well().await;
        assert!(is_settled(&instance));
        assert_eq!(instance.rds.count("ModifyDBInstance"), usize::from(is_doubtful));
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_starts_is_waited_for_and_one_that_never_does_is_named() {
    let instance = beside("hunter2hunter2");
    let (at, verdict) = (ENDPOINT.to_owned(), Verdict::Starting);
    let said = Said { at, verdict, code: "57P03".into(), message: "the database system is starting up".into(), open: false };
    instance.machine.network().change(ENDPOINT, |server| server.refusal = Some(Refusal::Said(said)));
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("databases.main").replace(ENDPOINT, "SHOP"), @r"
    waited 600s for shop to accept logins (SHOP is starting up or shutting down (57P03: the database system is starting up); RDS: available)
      hint: check the server's log: its start-up does not finish
    ");
    instance.machine.network().change(ENDPOINT, |server| server.refusal = None);
    assert_eq!(instance.boot_well().await.changed(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_database_that_nobody_has_is_not_waited_for() {
    let instance = instance(WAITED_FOR);
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("databases.main"), @r"
    RDS has no instance shop
      hint: correct its identifier, or name its source in `restore_from:`
    ");
}
