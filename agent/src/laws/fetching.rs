//! Nothing is fetched twice in one boot, and requests are combined where possible.

use std::fmt::Write as _;

use crate::aws::{ParameterValue, SecretValue};
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::laws::invented::value;

/// A document with `count` secrets from one source, and a file for each.
fn document(source: &str, count: usize) -> Example {
    let mut text = "version: 1\nsecrets:\n".to_owned();
    (0..count).for_each(|at| writeln!(text, "  s{at}: {{ {source}: /prod/{at} }}").unwrap());
    text.push_str("files:\n");
    (0..count).for_each(|at| writeln!(text, "  /etc/{at}: {{ content: \"{{{{secrets.s{at}}}}}\" }}").unwrap());
    Example::of(&text)
}

fn account() -> (FakeSecretsManager, FakeParameterStore) {
    let secrets = FakeSecretsManager::default().inventing(|request| Some(SecretValue::Text(value(&request.id).into())));
    let parameters = FakeParameterStore::default().inventing(|name| Some(ParameterValue::Text(value(name).into())));
    (secrets, parameters.inventing_trees(|path| Some(vec![("leaf".into(), ParameterValue::Text(value(path).into()))])))
}

/// Boots, and returns how often each action was called.
async fn calls(example: &Example) -> [usize; 4] {
    let (secrets, parameters) = account();
    let instance = Instance::with_aws(example, secrets, parameters);
    instance.boot_well().await;
    let (secrets, parameters) = (&instance.secrets, &instance.parameters);
    let first = [
        secrets.count("BatchGetSecretValue"),
        secrets.count("GetSecretValue"),
        parameters.count("GetParameters"),
        parameters.count("GetParametersByPath"),
    ];
    // A boot with nothing to change has to know the content of the files, but nothing else.
    instance.boot_well().await;
    assert_eq!(secrets.count("BatchGetSecretValue") + secrets.count("GetSecretValue"), 2 * (first[0] + first[1]));
    first
}

#[tokio::test(start_paused = true)]
async fn secrets_come_by_twenty_and_parameters_by_ten() {
    assert_eq!(calls(&document("secrets_manager", 45)).await, [3, 0, 0, 0]);
    assert_eq!(calls(&document("secrets_manager", 1)).await, [0, 1, 0, 0]);
    assert_eq!(calls(&document("parameter", 12)).await, [0, 0, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_used_ten_times_is_fetched_once() {
    let mut text = "version: 1\nsecrets:\n".to_owned();
    for at in 0..10 {
        writeln!(
            text,
            "  s{at}: {{ secrets_manager: prod/db }}\n  p{at}: {{ parameter: /prod/p }}\n  t{at}: {{ parameters_under: /prod/t }}"
        )
        .unwrap();
    }
    text.push_str("files:\n");
    for at in 0..10 {
        writeln!(text, "  /etc/{at}: {{ content: \"{{{{secrets.s0}}}} {{{{secrets.p{at}}}}} {{{{secrets.t{at}.leaf}}}}\" }}").unwrap();
    }
    assert_eq!(calls(&Example::of(&text)).await, [0, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn versions_of_a_secret_are_different_secrets() {
    let text = "version: 1\nsecrets:\n  now: { secrets_manager: x }\n  before: { secrets_manager: x, version_stage: AWSPREVIOUS }\n";
    assert_eq!(calls(&Example::of(text)).await, [0, 2, 0, 0]);
}

/// Regression: each step waited for a random time and then retried by itself: fifteen calls instead of one.
#[tokio::test(start_paused = true)]
async fn what_was_refused_together_comes_back_together() {
    let (secrets, parameters) = account();
    let instance = Instance::with_aws(&document("secrets_manager", 15), secrets.throttled(3), parameters);
    instance.boot_well().await;
    assert_eq!([instance.secrets.count("BatchGetSecretValue"), instance.secrets.count("GetSecretValue")], [4, 0]);
    let (secrets, parameters) = account();
    let instance = Instance::with_aws(&document("parameter", 10), secrets, parameters.throttled(2));
    instance.boot_well().await;
    assert_eq!(instance.parameters.count("GetParameters"), 3);
}
