//! Reports from instances and groups during a deployment.

use std::time::Duration;

use super::*;

/// CloudFormation rolls back for minutes, and the failure must be reported before that ends.
#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_at_once_and_only_once() {
    let world = World::created(&[Outcome::Complete]).await;
    let fails = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.left.evidence.borrow_mut().push(evidence("i-0a", 2, "services.a: no"));
        tokio::time::Instant::now()
    };
    let (_, failed) = tokio::join!(world.deployed(), fails);
    let news = world.quiet.news.borrow();
    assert_eq!(news.iter().map(|(_, said)| said.as_str()).collect::<Vec<_>>(), ["i-0a: services.a: no (s3://evidence/i-0a)"]);
    assert!(news[0].0 - failed <= Duration::from_secs(1), "{:?}", news[0].0 - failed);
}

/// AWS takes two seconds per answer, and the failure comes just after a query was sent.
#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_within_five_seconds_despite_slow_answers() {
    for after in [10, 260, 510, 1260, 2010] {
        let world = World::created(&[Outcome::Complete]).await;
        world.fake.silent.set(30);
        world.left.answers_take.set(Duration::from_secs(2));
        let fails = async {
            tokio::time::sleep(Duration::from_millis(after)).await;
            world.left.evidence.borrow_mut().push(evidence("i-0a", 2, "services.a: no"));
            tokio::time::Instant::now()
        };
        let (_, failed) = tokio::join!(world.deployed(), fails);
        let news = world.quiet.news.borrow();
        assert_eq!(news.len(), 1, "{news:?}");
        assert!(news[0].0 - failed <= Duration::from_millis(4600), "{:?} after {after} ms", news[0].0 - failed);
    }
}

#[tokio::test(start_paused = true)]
async fn lack_of_capacity_is_reported_and_ends_nothing() {
    let world = World::created(&[Outcome::Complete]).await;
    world.left.groups.borrow_mut().activities.push(Activity {
        begun: Timestamp::now(),
        ended: Some(Timestamp::now()),
        description: "Launching a new EC2 instance".into(),
        cause: String::new(),
        is_failed: true,
        message: Some("There is no Spot capacity available (InsufficientInstanceCapacity). Launching EC2 instance failed.".into()),
    });
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
    let said = world.quiet.news.borrow()[0].1.clone();
    assert_eq!(said, "no instance could be launched: AWS has no Spot capacity for these instance types now");
}

#[tokio::test(start_paused = true)]
async fn without_evidence_the_console_tells() {
    let mut world = World::created(&[Outcome::GoesBack]).await;
    world.left.console = Some("login:\r\ningot: the boot failed: files./etc/a: no; see `ingot status`\r\n".into());
    assert_eq!(ended(world.deployed().await.unwrap()).cause.unwrap(), "i-0c: files./etc/a: no (its console)");
}

#[tokio::test(start_paused = true)]
async fn evidence_is_kept_if_s3_refuses_later() {
    let world = World::created(&[Outcome::GoesBack]).await;
    world.left.evidence.borrow_mut().push(evidence("i-0a", 2, "services.a: no"));
    world.left.refused_from.set(Some(world.left.asked.get() + 2));
    let record = ended(world.deployed().await.unwrap());
    assert_eq!(record.cause.unwrap(), "i-0a: services.a: no (s3://evidence/i-0a)");
}

#[tokio::test(start_paused = true)]
async fn denied_queries_are_sent_less_often() {
    let asked = async |refused_from| {
        let world = World::created(&[Outcome::Complete]).await;
        world.fake.silent.set(120);
        world.left.asked.set(0);
        world.left.refused_from.set(refused_from);
        assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
        world.left.asked.get()
    };
    let (often, seldom) = (asked(None).await, asked(Some(1)).await);
    assert!(often > 400 && seldom < 20, "{often} and {seldom} in four minutes");
}
