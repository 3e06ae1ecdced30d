//! Updates and deployments of other operators are left alone.

use std::time::Duration;

use super::operators::{Site, Verb};
use super::turns::{until, work};
use super::*;
use crate::conduct::{Terminate, Terminated};

/// Makes an update with this token run on the stack.
fn updates(world: &World, token: &str) {
    let mut stack = world.fake.stack.borrow_mut();
    let stack = stack.as_mut().unwrap();
    (stack.status, stack.token) = ("UPDATE_IN_PROGRESS".into(), Some(token.into()));
}

/// An environment whose deployment 2 has ended and whose deployment 3 is under way. Returns the old state of deployment
/// 2.
async fn overtaken() -> (World, Kept) {
    let world = World::created(&[]).await;
    let second = world.begun().await;
    world.records().finish(&second, State::Undone, Timestamp::now(), None).await.unwrap();
    assert_eq!(world.begun().await.record.number, 3);
    (world, second)
}

#[tokio::test(start_paused = true)]
async fn the_update_of_the_next_deployment_is_not_cancelled() {
    let (world, second) = overtaken().await;
    // The status is new, but the token is still that of the previous update.
    updates(&world, &Operation::SetRelease.token(&second.record));
    let undone = ended(world.conductor().undo(second.clone(), "shop-prod").await.unwrap());
    let followed = ended(world.follow(second).await.unwrap());
    assert_eq!([(undone.number, undone.state), (followed.number, followed.state)], [(2, State::Undone); 2]);
    assert_eq!(world.fake.cancelled.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn following_an_ended_deployment_does_not_wait_for_others() {
    let (world, second) = overtaken().await;
    updates(&world, "somebody's");
    let followed = tokio::time::timeout(Duration::from_secs(60), world.follow(second)).await.expect("it goes on for hours");
    assert_eq!(ended(followed.unwrap()).state, State::Undone);
}

#[tokio::test(start_paused = true)]
async fn a_follower_without_permission_leaves_the_deployment_to_others() {
    for (outcome, state) in [(Outcome::Denied, State::UnderWay), (Outcome::Refused, State::Failed)] {
        let world = World::created(&[outcome]).await;
        let (kept, terms) = (world.begun().await, of_two());
        let plan = Plan::of("shop-prod".into(), &terms, &kept.record).taken_up();
        world.conductor().follow(kept, &plan, Until::Ended).await.unwrap_err();
        assert_eq!(world.state().await, state, "{outcome:?}");
    }
    // No other process knows about it yet.
    let world = World::created(&[Outcome::Denied]).await;
    world.deployed().await.unwrap_err();
    assert_eq!(world.state().await, State::Failed);
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_do_not_end_a_deployment() {
    let world = World::created(&[Outcome::Expired, Outcome::Complete]).await;
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
    assert_eq!(world.operations(), ["create", "release", "release"]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_stack_is_retried() {
    // By the time of the next look, it is no longer busy.
    let world = World::created(&[Outcome::Busy, Outcome::Complete]).await;
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
}

/// The operator's laptop sleeps between the record and the request.
#[tokio::test(start_paused = true)]
async fn an_old_request_is_not_sent() {
    let site = Site::deployed().await;
    let deployer = site.operator("ann");
    let mut follower = work(deployer.run(Verb::Deploy));
    site.cloud.takes_turns.set(true);
    let times = || site.cloud.record(3).and_then(|record| record.ordered).map_or(0, |ordered| ordered.times);
    until(&mut [&mut follower], || times() == 1).await;
    tokio::time::advance(Duration::from_secs(16)).await;
    until(&mut [&mut follower], || times() == 2 || !site.cloud.sent().is_empty()).await;
    assert_eq!((times(), site.cloud.sent()), (2, Vec::new()), "it is ordered anew");
    until(&mut [&mut follower], || !site.cloud.sent().is_empty()).await;
}

const SECOND: &str = "shop/environments/prod/deployments/2.json";

/// Rewrites the record of a deployment as another version of ingot-fleet would, without these fields.
fn rewrite(world: &World, record: &Record, schema: u32, without: &[&str]) {
    let mut content: serde_json::Value = serde_json::from_slice(&record.write()).unwrap();
    content["schema"] = schema.into();
    content.as_object_mut().unwrap().retain(|name, _| !without.contains(&name.as_str()));
    world.objects.place(SECOND, content.to_string().as_bytes());
}

/// A deployment begun by an older version.
async fn of_an_older_tool(world: &World) -> Kept {
    rewrite(world, &world.begun().await.record, 1, &["kind", "terms"]);
    world.records().read(2).await.unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_possible_request_of_an_older_tool_is_awaited() {
    let world = World::created(&[]).await;
    let kept = of_an_older_tool(&world).await;
    let (began, conductor) = (tokio::time::Instant::now(), world.conductor());
    let mut undo = std::pin::pin!(conductor.undo(kept, "shop-prod"));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut undo).await.is_err(), "its order may be on its way");
    let content = String::from_utf8(world.objects.found(SECOND).unwrap()).unwrap();
    assert!(content.contains("\"schema\": 2") && content.contains("\"under_way\""), "it is out of its reach: {content}");
    assert_eq!(ended(undo.await.unwrap()).state, State::Undone);
    assert!(began.elapsed() > Duration::from_secs(100), "{:?}", began.elapsed());
    assert_eq!(world.operations(), ["create"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_requested_by_an_older_tool_is_cancelled() {
    let world = World::created(&[Outcome::Complete]).await;
    let kept = of_an_older_tool(&world).await;
    let (record, terms) = (kept.record.clone(), of_two());
    let plan = Plan::of("shop-prod".into(), &terms, &record);
    let arrives = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(world.fake.update(&plan.order(Operation::SetRelease, &record, None)).await.unwrap());
    };
    let conductor = world.conductor();
    let (undone, ()) = tokio::join!(conductor.undo(kept, "shop-prod"), arrives);
    assert_eq!(ended(undone.unwrap()).state, State::Undone);
    assert!(world.fake.cancelled.get() > 0);
    assert_eq!(world.fake.stack.borrow().as_ref().unwrap().parameters["Deployment"], "1");
}

#[tokio::test(start_paused = true)]
async fn an_older_tool_does_not_continue_a_newer_record() {
    let world = World::created(&[Outcome::Complete]).await;
    let kept = world.begun().await;
    rewrite(&world, &kept.record, 3, &[]);
    let failure = world.follow(kept.clone()).await.unwrap_err().to_string();
    assert!(
        failure.contains("it was written by a newer ingot-fleet (schema 3)") && failure.contains("hint: update ingot-fleet"),
        "{failure}"
    );
    assert_eq!(world.operations(), ["create"]);
    let failure = world.conductor().undo(kept, "shop-prod").await.unwrap_err().to_string();
    assert!(failure.contains("hint: update ingot-fleet"), "{failure}");
    assert_eq!(world.fake.cancelled.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_confirmed_is_terminated() {
    let world = World::created(&[]).await;
    let terminate = |agreed| {
        let (records, stacks) = (world.records(), &world.fake);
        Terminate { records, stacks, environment: "prod", stack: "shop-prod", role: None, tell: |_| {}, agreed }
    };
    world.begun().await;
    let failure = terminate(1).run().await.unwrap_err().to_string();
    assert!(failure.contains("prod has changed in the meantime: deployment 2 of prod"), "{failure}");
    assert!(world.fake.stack.borrow().is_some());
    assert_eq!(world.state().await, State::UnderWay);
    assert_eq!(terminate(2).run().await.unwrap(), Terminated::Deleted);
}
