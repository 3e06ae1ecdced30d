//! Races between two operators at the worst moments.

use std::time::Duration;

use tokio::time::Instant;

use super::operators::{Site, Verb, alone};
use super::turns::{Others as _, Work, until, work};
use super::*;

fn state(site: &Site) -> State {
    site.cloud.records().last().unwrap().state
}

/// The number of the deployment that the stack runs.
fn runs(site: &Site) -> Option<String> {
    site.cloud.standing_now()?.parameter("Deployment").map(str::to_owned)
}

fn is_sent(site: &Site, operation: &str) -> bool {
    site.cloud.sent().iter().any(|token| token.starts_with(&format!("ingot-3-{operation}-")))
}

/// Whether a cancellation was sent to CloudFormation.
fn is_cancelled(site: &Site) -> bool {
    site.cloud.sent().contains(&String::new())
}

/// Lets this much time pass, with these operators at work.
async fn pass(works: &mut [&mut Work<'_>], time: Duration) {
    let end = Instant::now() + time;
    until(works, || Instant::now() >= end).await;
}

/// Runs these operators to their end, while CloudFormation does its part.
async fn end(site: &Site, works: &mut [&mut Work<'_>]) {
    for _ in 0..1000 {
        if works.iter().all(|work| work.is_none()) {
            return;
        }
        site.cloud.rest();
        pass(works, Duration::from_secs(1)).await;
    }
    panic!("it does not end");
}

/// Third deployment, whose first update has ended and whose second was sent but has not arrived.
async fn sent(site: &Site, follower: &mut Work<'_>) {
    site.cloud.takes_turns.set(true);
    until(&mut [&mut *follower], || is_sent(site, "policy")).await;
    site.cloud.rest();
    until(&mut [&mut *follower], || is_sent(site, "release")).await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_not_undone_while_a_request_is_in_flight() {
    for is_killed in [false, true] {
        let site = Site::deployed().await;
        let (deployer, aborter) = (site.operator("ann"), site.operator("bob"));
        let mut follower = work(deployer.run(Verb::Deploy));
        sent(&site, &mut follower).await;
        if is_killed {
            follower = None;
        }
        let mut abort = work(aborter.run(Verb::Abort));
        pass(&mut [&mut abort], Duration::from_secs(60)).await;
        assert_eq!(state(&site), State::UnderWay, "its update may come any moment");
        // Now it arrives.
        site.cloud.happens(0);
        until(&mut [&mut abort, &mut follower], || is_cancelled(&site)).await;
        end(&site, &mut [&mut abort, &mut follower]).await;
        assert_eq!((state(&site), runs(&site).as_deref()), (State::Undone, Some("2")), "killed: {is_killed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_never_sent_is_undone_after_a_while() {
    let site = Site::deployed().await;
    let (deployer, aborter) = (site.operator("ann"), site.operator("bob"));
    let mut follower = work(deployer.run(Verb::Deploy));
    let is_marked = || site.cloud.record(3).is_some_and(|record| record.ordered.is_some());
    site.cloud.takes_turns.set(true);
    until(&mut [&mut follower], is_marked).await;
    drop(follower);
    let (mut abort, began) = (work(aborter.run(Verb::Abort)), Instant::now());
    end(&site, &mut [&mut abort]).await;
    assert_eq!((state(&site), runs(&site).as_deref()), (State::Undone, Some("2")));
    assert!(began.elapsed() >= Duration::from_secs(120), "{:?}", began.elapsed());
}

/// The operator's laptop sleeps just before the update is sent.
#[tokio::test(start_paused = true)]
async fn an_update_that_arrives_after_the_end_is_cancelled() {
    let site = Site::deployed().await;
    let (deployer, aborter) = (site.operator("ann"), site.operator("bob"));
    let mut follower = work(deployer.run(Verb::Deploy));
    sent(&site, &mut follower).await;
    let mut abort = work(aborter.run(Verb::Abort));
    pass(&mut [&mut abort], Duration::from_secs(300)).await;
    assert_eq!((abort.is_none(), state(&site)), (true, State::Undone));
    site.cloud.happens(0);
    until(&mut [&mut follower], || is_cancelled(&site)).await;
    end(&site, &mut [&mut follower]).await;
    assert_eq!((state(&site), runs(&site).as_deref()), (State::Undone, Some("2")));
}

#[tokio::test(start_paused = true)]
async fn a_terminated_environment_is_not_deployed_to() {
    for kills_the_terminator in [false, true] {
        let site = Site::deployed().await;
        let (deployer, terminator) = (site.operator("ann"), site.operator("bob"));
        let mut follower = work(deployer.run(Verb::Deploy));
        site.cloud.takes_turns.set(true);
        until(&mut [&mut follower], || site.cloud.records().len() == 3).await;
        let mut terminate = work(terminator.run(Verb::Terminate));
        if kills_the_terminator {
            // After the stack is gone, but before the record says so.
            until(&mut [&mut terminate], || site.cloud.sent().len() == 1).await;
            site.cloud.rest();
            terminate = None;
        }
        end(&site, &mut [&mut terminate]).await;
        assert_eq!(runs(&site), None);
        end(&site, &mut [&mut follower]).await;
        assert_eq!((runs(&site), state(&site)), (None, State::Undone), "killed: {kills_the_terminator}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_creation_in_flight_is_terminated_too() {
    let site = Site::new();
    let (creator, terminator) = (site.operator("ann"), site.operator("bob"));
    let mut follower = work(creator.run(Verb::Create));
    site.cloud.takes_turns.set(true);
    until(&mut [&mut follower], || site.cloud.sent().len() == 1).await;
    drop(follower);
    let mut terminate = work(terminator.run(Verb::Terminate));
    pass(&mut [&mut terminate], Duration::from_secs(60)).await;
    assert!(terminate.is_some(), "there is no stack yet, but there will be");
    site.cloud.happens(0);
    assert!(runs(&site).is_some());
    end(&site, &mut [&mut terminate]).await;
    assert_eq!((runs(&site), state(&site)), (None, State::Undone));
}

/// Deployment 3 was begun by ann, with the settings of her fleet.yaml.
#[tokio::test(start_paused = true)]
async fn a_continued_deployment_keeps_its_terms() {
    let site = Site::deployed().await;
    let (deployer, other) = (site.operator("ann"), site.operator("bob"));
    let mut first = work(deployer.run(Verb::Deploy));
    site.cloud.takes_turns.set(true);
    until(&mut [&mut first], || is_sent(&site, "policy")).await;
    drop(first);
    site.cloud.takes_turns.set(false);
    site.cloud.rest();
    alone(&site.cloud, &other, Verb::Deploy).await;
    let standing = site.cloud.standing_now().unwrap();
    assert_eq!((standing.parameter("Deployment"), standing.parameter("MaxSize")), (Some("3"), Some("ann")));
    assert_eq!(state(&site), State::Good);
}
