//! A thousand instances that boot at the same time in one account: all succeed, none makes more calls than necessary,
//! and together they take little longer than the account's quotas require.
//!
//! `cargo test --lib laws::fleet -- --nocapture` prints the distribution of their times as a Markdown table.

mod quotas;

use std::collections::BTreeMap;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use self::quotas::{Account, LATENCY, metered};
use crate::fake::aws::FakeEc2;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance, ZONE};
use crate::laws::volumes::restorable;
use crate::report::BootOutcome;

const INSTANCES: usize = 1_000;

/// The maximum average number of attempts per successful call. A thousand independent instances need several: each
/// estimates the length of the queue from its own pauses.
const TRIES: f64 = 7.0;

const SECRETS: &str = "
version: 1
secrets:
  db: { secrets_manager: prod/db }
  session: { secrets_manager: prod/session }
  token: { parameter: /prod/token }
  license: { parameter: /prod/license }
  flags: { parameters_under: /prod/flags }
files:
  /etc/shop.toml: { content: 'a = [{{toml secrets.db}}, {{toml secrets.session}}, {{toml secrets.token}}, {{toml secrets.license}}]' }
  /etc/flags.toml: { content: 'f = {{toml secrets.flags.checkout}}' }
";

const VOLUME: &str = "
version: 1
volumes:
  data:
    from: { snapshot: { newest_with_tags: { role: data } } }
    filesystem: xfs
    delete_on_termination: true
mounts:
  /srv/data: { device: '{{volumes.data.device}}' }
";

/// The result of booting a fleet.
struct Flown {
    /// When each instance was done, sorted.
    times: Vec<Duration>,
    calls: BTreeMap<&'static str, (usize, usize)>,
}

impl Flown {
    fn at(&self, share: f64) -> Duration {
        self.times[((self.times.len() - 1) as f64 * share) as usize]
    }

    fn needed(&self, alone: &Self) -> BTreeMap<&'static str, usize> {
        alone.calls.iter().map(|(action, (made, _))| (*action, made * self.times.len())).collect()
    }

    #[expect(clippy::print_stdout, reason = "the table is what `--nocapture` is given for")]
    fn print(&self, name: &str, alone: &Self, least: Duration) {
        let [p50, p90, p99, last] = [0.5, 0.9, 0.99, 1.0].map(|share| self.at(share).as_secs_f64());
        println!("\n{name}: {} instances, {:.1} s at the least by the quotas", self.times.len(), least.as_secs_f64());
        println!("\n| alone | p50 | p90 | p99 | last |\n|---|---|---|---|---|");
        println!("| {:.3} s | {p50:.1} s | {p90:.1} s | {p99:.1} s | {last:.1} s |", alone.times[0].as_secs_f64());
        println!("\n| action | needed by each | tries for one |\n|---|---|---|");
        for (action, (made, refused)) in &self.calls {
            let needed = alone.calls.get(action).map_or(0, |(made, _)| *made);
            println!("| {action} | {needed} | {:.2} |", *made as f64 / (made - refused) as f64);
        }
    }
}

async fn member(text: &str) -> Instance {
    let mut instance = Instance::of(&Example::of(text)).await;
    instance.machine.stop_inventing_disks();
    instance.ec2 = Rc::new(restorable(FakeEc2::new(instance.machine.clone(), ZONE)));
    // A new volume is never ready at the first look.
    instance.ec2.creating_for(1);
    instance
}

async fn boot(instance: &Instance, account: &Rc<Account>) -> Booted {
    instance.process_with(metered(account, instance.services())).await.run(pending()).await
}

/// Boots a fleet of `size` instances at the same time.
async fn fly(text: &str, size: usize, account: &Rc<Account>) -> Flown {
    fastrand::seed(7);
    let mut instances = Vec::new();
    for _ in 0..size {
        instances.push(member(text).await);
    }
    let begun = tokio::time::Instant::now();
    let mut boots: FuturesUnordered<_> = instances
        .iter()
        .map(|instance| async {
            let booted = boot(instance, account).await;
            assert_eq!(booted.report.outcome, BootOutcome::Done, "{:?}", booted.report.first_failure());
        })
        .collect();
    let mut times = Vec::new();
    while boots.next().await.is_some() {
        times.push(begun.elapsed());
    }
    Flown { times, calls: account.calls() }
}

/// Boots a thousand instances. One instance makes the calls `each`, and alone it takes `critical` sequential calls and
/// `pauses`. The fleet must be done within `times_the_least` times the minimum that the quotas permit.
async fn a_thousand_of(name: &str, text: &str, each: &[(&'static str, usize)], critical: u64, pauses: Duration, times_the_least: f64) {
    let alone = fly(text, 1, &Account::new()).await;
    let calls: Vec<(&str, usize)> = alone.calls.iter().map(|(action, (made, _))| (*action, *made)).collect();
    assert_eq!(calls, each, "the fewest there are");
    let in_calls = alone.times[0] - pauses;
    assert!(in_calls <= Duration::from_millis(critical * (LATENCY.end() + 1)), "an instance alone waits for nothing else: {in_calls:?}");

    let fleet = fly(text, INSTANCES, &Account::new()).await;
    let needed = fleet.needed(&alone);
    let least = Account::least(&needed);
    fleet.print(name, &alone, least);
    let least = least + alone.times[0];
    assert!(fleet.at(1.0) < least.mul_f64(times_the_least), "{:?} is far from {least:?}", fleet.at(1.0));
    for (action, (made, refused)) in &fleet.calls {
        assert_eq!(made - refused, needed[action], "{action}: nothing is asked for twice, however often something is refused");
        assert!((*made as f64) < needed[action] as f64 * TRIES, "{action}: {made} tries for {}", needed[action]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_read_secrets() {
    let each = [("BatchGetSecretValue", 1), ("GetParameters", 1), ("GetParametersByPath", 1)];
    // The calls of one instance run concurrently.
    a_thousand_of("secrets", SECRETS, &each, 1, Duration::ZERO, 1.6).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_restore_a_volume() {
    let each = [("AttachVolume", 1), ("CreateVolume", 1), ("DescribeSnapshots", 1), ("DescribeVolumes", 5), ("ModifyInstanceAttribute", 1)];
    a_thousand_of("a volume", VOLUME, &each, 9, Duration::from_secs(1), 1.3).await;
}
