//! Instances that get a release in place.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::{Instant, advance};

use super::World;
use crate::aws::boots::{Boot, Instances, Sent};
use crate::conduct::hand::{Batch, Hand, RARELY, Way};
use crate::conduct::in_place::InPlace;
use crate::deployment::in_place::Standee;
use crate::deployment::record::Release;
use crate::failure::Failure;

/// A group whose boots never end.
#[derive(Debug, Default)]
struct Group(RefCell<Vec<Standee>>);

impl Instances for Group {
    async fn standees(&self) -> Result<Vec<Standee>, Failure> {
        Ok(self.0.borrow().clone())
    }

    async fn mark(&self, _: &[String], _: u64, _: Option<&Release>) -> Result<(), Failure> {
        unreachable!("none is done")
    }

    async fn send(&self, _: &Release, _: &[String], _: &str) -> Result<Sent, Failure> {
        unreachable!("it was sent")
    }

    async fn look(&self, _: &str, ids: &[String]) -> Result<Vec<(String, Boot)>, Failure> {
        Ok(ids.iter().map(|id| (id.clone(), Boot::GoesOn)).collect())
    }

    async fn was_sent(&self, _: &str, _: &str) -> Result<bool, Failure> {
        unreachable!("nobody ends it")
    }

    async fn replace(&self, _: &str) -> Result<(), Failure> {
        unreachable!("none has failed")
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_leaves_the_group_is_not_awaited() {
    let (world, group) = (World::new(&[]), Group::default());
    let kept = world.begun().await;
    let standee = |id: &str| Standee { id: id.into(), lifecycle: "InService".into(), deployment: Some(1), release: None };
    group.0.replace(vec![standee("i-1"), standee("i-2")]);
    let records = world.records();
    let in_place = InPlace { records: &records, witness: &world.left, tell: &world.quiet, instances: &group };
    let (since, patience) = (Instant::now(), Duration::from_secs(17 * 60));
    let (command, ids) = ("c-1".to_owned(), vec!["i-1".to_owned(), "i-2".to_owned()]);
    let release = kept.record.goal.release.clone();
    let batch = Batch { command, ids, number: 1, release, way: Way::On, since, patience, looked: since };
    let mut hand = Hand { batch: Some(batch), ..Hand::default() };
    // The group terminates one of them, then the other.
    for lifecycle in ["InService", "Terminating:Wait"] {
        advance(RARELY).await;
        assert!(in_place.still_boots(&kept.record, &mut hand).await.unwrap(), "i-2 is {lifecycle}");
        group.0.borrow_mut()[0].lifecycle = "Terminating:Wait".into();
    }
    group.0.borrow_mut().pop();
    assert!(in_place.still_boots(&kept.record, &mut hand).await.unwrap(), "not asked for at each look");
    advance(RARELY).await;
    assert!(!in_place.still_boots(&kept.record, &mut hand).await.unwrap());
    assert!(hand.batch.is_none() && world.quiet.news.borrow().is_empty(), "nothing has failed");
}
