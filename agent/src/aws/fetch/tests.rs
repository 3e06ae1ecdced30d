use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{sleep, timeout};

use crate::failure::Failure;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};

use super::*;

fn current(id: impl Into<String>) -> SecretRequest {
    SecretRequest { id: id.into(), version: SecretVersion::Current }
}

fn many(count: usize) -> FakeSecretsManager {
    (0..count).fold(FakeSecretsManager::default(), |fake, n| fake.with(&format!("s{n:02}"), &format!("value {n}")))
}

fn secrets(fake: FakeSecretsManager) -> (Rc<FakeSecretsManager>, Secrets) {
    let fake = Rc::new(fake);
    (fake.clone(), Secrets::new(fake))
}

fn text(value: &SecretValue) -> &str {
    match value {
        SecretValue::Text(text) => text.expose(),
        SecretValue::Binary(_) => panic!("binary"),
    }
}

async fn all(secrets: &Secrets, count: usize) -> Vec<Result<SecretValue, AwsError>> {
    join_all((0..count).map(|n| async move { secrets.get(&current(format!("s{n:02}"))).await })).await
}

/// Counts how many calls run concurrently; each of them takes a while.
struct Slow {
    inner: FakeSecretsManager,
    now: Cell<usize>,
    most: Cell<usize>,
}

impl Slow {
    fn new(inner: FakeSecretsManager) -> (Rc<Self>, Secrets) {
        let slow = Rc::new(Self { inner, now: Cell::new(0), most: Cell::new(0) });
        (slow.clone(), Secrets::new(slow))
    }

    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        sleep(Duration::from_secs(1)).await;
        self.now.set(self.now.get() - 1);
        call.await
    }
}

#[async_trait::async_trait(?Send)]
impl SecretsManager for Slow {
    async fn batch(&self, ids: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError> {
        self.call(self.inner.batch(ids)).await
    }

    async fn elsewhere(&self, region: &str, id: &str) -> Result<Option<Rc<dyn SecretsManager>>, AwsError> {
        self.inner.elsewhere(region, id).await
    }

    async fn get(&self, secret: &SecretRequest) -> Result<SecretValue, AwsError> {
        self.call(self.inner.get(secret)).await
    }
}

#[tokio::test(start_paused = true)]
async fn forty_five_secrets_are_three_batches_at_once() {
    let (slow, secrets) = Slow::new(many(45));
    let mut steps: FuturesUnordered<_> = (0..45)
        .map(|n| {
            let secrets = secrets.clone();
            async move { (n, secrets.get(&current(format!("s{n:02}"))).await.unwrap()) }
        })
        .collect();
    while let Some((n, value)) = steps.next().await {
        assert_eq!(text(&value), format!("value {n}"));
    }
    assert_eq!((slow.inner.count("BatchGetSecretValue"), slow.inner.count("GetSecretValue"), slow.most.get()), (3, 0, 3));
}

#[tokio::test]
async fn a_secret_used_ten_times_is_fetched_once() {
    let (fake, secrets) = secrets(many(2));
    for _ in 0..2 {
        let ten = join_all((0..10).map(|_| async { secrets.get(&current("s00")).await.unwrap() })).await;
        assert!(ten.iter().all(|value| text(value) == "value 0"));
    }
    assert_eq!((fake.count("BatchGetSecretValue"), fake.count("GetSecretValue")), (0, 1));
    all(&secrets, 2).await;
    assert_eq!((fake.count("BatchGetSecretValue"), fake.count("GetSecretValue")), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn without_leave_to_batch_it_reads_singly_from_then_on() {
    let (slow, secrets) = Slow::new(many(70).denied("BatchGetSecretValue"));
    assert!(all(&secrets, 60).await.iter().all(Result::is_ok));
    assert_eq!((slow.inner.count("BatchGetSecretValue"), slow.inner.count("GetSecretValue")), (3, 60));
    assert_eq!(slow.most.get(), SINGLE_CALLS);

    assert!(all(&secrets, 70).await.iter().all(Result::is_ok));
    assert_eq!((slow.inner.count("BatchGetSecretValue"), slow.inner.count("GetSecretValue")), (3, 70));
}

#[tokio::test]
async fn one_that_is_missing_or_denied_fails_alone() {
    let (fake, secrets) = secrets(many(3).denied("s01"));
    let answers = all(&secrets, 4).await;
    assert!(answers[0].is_ok() && answers[2].is_ok());
    let message = |n: usize| answers[n].as_ref().unwrap_err().to_string();
    assert_eq!(message(1), "GetSecretValue s01: access denied: no identity-based policy allows it");
    assert_eq!(message(3), "GetSecretValue s03: not found: Secrets Manager can't find the specified secret.");
    assert_eq!(fake.count("GetSecretValue"), 0);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let (fake, secrets) = secrets(many(2).throttled(1));
    let answers = all(&secrets, 2).await;
    let error = answers[1].as_ref().unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.to_string(), "BatchGetSecretValue s01: throttled: Rate exceeded");
    assert!(all(&secrets, 2).await.iter().all(Result::is_ok));
    assert_eq!(fake.count("BatchGetSecretValue"), 2);
}

/// No two timers of a machine are late by the same amount.
#[tokio::test(start_paused = true)]
async fn what_was_refused_together_comes_back_together() {
    let (fake, secrets) = secrets(many(3).throttled(1));
    let secrets = &secrets;
    let answers = join_all((0..3).map(|n| async move {
        let secret = current(format!("s{n:02}"));
        let refused = secrets.get(&secret).await.unwrap_err();
        tokio::time::sleep(refused.retry_after.unwrap() + Duration::from_millis(n)).await;
        secrets.get(&secret).await
    }));
    assert!(answers.await.iter().all(Result::is_ok));
    assert_eq!((fake.count("BatchGetSecretValue"), fake.count("GetSecretValue")), (2, 0));
}

#[tokio::test]
async fn a_version_is_read_by_itself() {
    let version = SecretVersion::Stage("AWSPREVIOUS".into());
    let old = SecretValue::Text("old".into());
    let (fake, secrets) = secrets(many(2).with_version("s00", version.clone(), old.clone()));
    let pinned = SecretRequest { id: "s00".into(), version };
    let (answers, previous) = futures_util::join!(all(&secrets, 2), secrets.get(&pinned));
    assert_eq!((text(answers[0].as_ref().unwrap()), previous.unwrap()), ("value 0", old));
    assert_eq!((fake.count("BatchGetSecretValue"), fake.count("GetSecretValue")), (1, 1));
}

/// Regression: when the step that had opened the round timed out, the others hung forever.
#[tokio::test(start_paused = true)]
async fn others_get_their_answer_when_the_first_one_gives_up() {
    for patience in [Duration::ZERO, Duration::from_millis(500)] {
        let (slow, secrets) = Slow::new(many(3));
        let (s00, s01, s02) = (current("s00"), current("s01"), current("s02"));
        let first = timeout(patience, secrets.get(&s00));
        let same = secrets.get(&s00);
        let (first, same, one, two) = futures_util::join!(first, same, secrets.get(&s01), secrets.get(&s02));
        assert!(first.is_err() && same.is_ok() && one.is_ok() && two.is_ok());
        assert_eq!((slow.inner.count("BatchGetSecretValue"), slow.inner.count("GetSecretValue")), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_can_be_asked_for_again() {
    let (slow, secrets) = Slow::new(many(2));
    let both = async { all(&secrets, 2).await };
    assert!(timeout(Duration::from_millis(500), pin!(both)).await.is_err());
    assert!(all(&secrets, 2).await.iter().all(Result::is_ok));
    assert_eq!(slow.inner.count("BatchGetSecretValue"), 1, "the first one never came to its end");
}

#[tokio::test]
async fn parameters_go_by_ten_and_one_that_is_denied_fails_alone() {
    let fake = (0..25).fold(FakeParameterStore::default(), |fake, n| fake.with(&format!("/p{n:02}"), "x"));
    let fake = Rc::new(fake.with_list("/list", &["a", "b"]));
    let parameters = Parameters::new(fake.clone());
    let names: Vec<String> = (0..25).map(|n| format!("/p{n:02}")).chain(["/list".into(), "/missing".into()]).collect();
    let answers = join_all(names.iter().map(|name| parameters.get(name))).await;
    assert_eq!(fake.count("GetParameters"), 3);
    assert!(answers[..25].iter().all(Result::is_ok));
    assert_eq!(answers[25], Ok(ParameterValue::List(vec!["a".into(), "b".into()])));
    assert_eq!(answers[26].as_ref().unwrap_err().kind, AwsErrorKind::NotFound);

    let fake = Rc::new(FakeParameterStore::default().with("/a", "1").with("/b", "2").denied("/b"));
    let parameters = Parameters::new(fake.clone());
    let (a, b) = futures_util::join!(parameters.get("/a"), parameters.get("/b"));
    assert_eq!(a, Ok(ParameterValue::Text("1".into())));
    assert_eq!(b.unwrap_err().hint().unwrap(), "allow ssm:GetParameters on /b in the instance's role");
    assert_eq!(fake.count("GetParameters"), 3);
}

#[tokio::test]
async fn a_tree_is_read_once() {
    let fake = Rc::new(FakeParameterStore::default().with("/f/a", "1").with("/f/b/c", "2").with("/g", "3"));
    let parameters = Parameters::new(fake.clone());
    let (one, two) = futures_util::join!(parameters.under("/f/"), parameters.under("/f/"));
    let names: Vec<String> = one.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b/c"]);
    assert!(two.is_ok() && parameters.under("/f/").await.is_ok());
    assert_eq!(fake.count("GetParametersByPath"), 1);
}

fn arn(region: &str, n: usize) -> String {
    format!("arn:aws:secretsmanager:{region}:210987654321:secret:s{n:02}-a1b2c3")
}

/// Imitates Secrets Manager with secrets of other accounts: they are returned only by single reads.
struct OwnBatchesOnly(FakeSecretsManager);

#[async_trait::async_trait(?Send)]
impl SecretsManager for OwnBatchesOnly {
    async fn batch(&self, ids: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError> {
        let refused = |id: &String| {
            let call = Call::new(crate::aws::secrets_manager::SERVICE, "BatchGetSecretValue", id);
            id.starts_with("arn:").then(|| call.refused(Some("ResourceNotFoundException"), None, Some(400)))
        };
        let answers = self.0.batch(ids).await?;
        Ok(ids.iter().zip(answers).map(|(id, answer)| refused(id).map(Err).map_or(answer, Some)).collect())
    }

    async fn elsewhere(&self, region: &str, id: &str) -> Result<Option<Rc<dyn SecretsManager>>, AwsError> {
        self.0.elsewhere(region, id).await
    }

    async fn get(&self, secret: &SecretRequest) -> Result<SecretValue, AwsError> {
        self.0.get(secret).await
    }
}

#[tokio::test]
async fn a_secret_of_another_account_that_a_batch_refuses_is_read_alone() {
    let foreign = arn("eu-central-1", 0);
    let fake = Rc::new(OwnBatchesOnly(many(2).with(&foreign, "theirs")));
    let secrets = Secrets::new(fake.clone());
    let (own, theirs) = (current("s00"), current(&foreign));
    let (own, theirs) = futures_util::join!(secrets.get(&own), secrets.get(&theirs));
    assert_eq!((text(&own.unwrap()), text(&theirs.unwrap())), ("value 0", "theirs"));
    assert_eq!((fake.0.count("BatchGetSecretValue"), fake.0.count("GetSecretValue")), (1, 1));
}

/// Regression: an ARN of another region was looked up in the current one.
#[tokio::test]
async fn each_region_is_asked_for_what_its_arns_name() {
    let of = |region: &str| (0..3).fold(FakeSecretsManager::default(), |fake, n| fake.with(&arn(region, n), &format!("{region} {n}")));
    let (virginia, tokyo) = (Rc::new(of("us-east-1").denied("BatchGetSecretValue")), Rc::new(of("ap-northeast-1")));
    let home = many(1).with(&arn("eu-central-1", 0), "home").and_in("us-east-1", &virginia).and_in("ap-northeast-1", &tokyo);
    let (home, secrets) = secrets(home);
    let ids = ["s00".to_owned(), arn("eu-central-1", 0)].into_iter();
    let ids: Vec<String> = ids.chain((0..3).flat_map(|n| ["us-east-1", "ap-northeast-1"].map(|region| arn(region, n)))).collect();
    let secrets = &secrets;
    let answers = join_all(ids.iter().map(|id| async move { secrets.get(&current(id)).await.unwrap() })).await;
    let texts: Vec<&str> = answers.iter().map(text).collect();
    assert_eq!(
        texts,
        ["value 0", "home", "us-east-1 0", "ap-northeast-1 0", "us-east-1 1", "ap-northeast-1 1", "us-east-1 2", "ap-northeast-1 2"]
    );
    let calls = |fake: &FakeSecretsManager| (fake.count("BatchGetSecretValue"), fake.count("GetSecretValue"));
    assert_eq!((calls(&home), calls(&virginia), calls(&tokyo)), ((1, 0), (1, 3), (1, 0)));
}

#[tokio::test]
async fn a_parameter_of_another_region_is_asked_for_there() {
    let name = "arn:aws:ssm:us-east-1:210987654321:parameter/shared";
    let there = Rc::new(FakeParameterStore::default().with(name, "there"));
    let home = Rc::new(FakeParameterStore::default().with("/here", "here").and_in("us-east-1", &there));
    let parameters = Parameters::new(home.clone());
    let (here, shared) = futures_util::join!(parameters.get("/here"), parameters.get(name));
    assert_eq!((here, shared), (Ok(ParameterValue::Text("here".into())), Ok(ParameterValue::Text("there".into()))));
    assert_eq!((home.count("GetParameters"), there.count("GetParameters")), (1, 1));
    let missing = parameters.get("arn:aws:ssm:us-east-1:210987654321:parameter/gone").await.unwrap_err();
    assert_eq!(
        missing.hint().unwrap(),
        "create arn:aws:ssm:us-east-1:210987654321:parameter/gone in us-east-1, or correct its ARN in the document"
    );
}
