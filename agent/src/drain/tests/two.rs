//! Two drains at the same time: a manual one, and one because the machine shuts down.

use futures_util::future::join;

use super::*;
use crate::drain::leave::Leaving;
use crate::host::state::EntryState;

/// Regression: the proxy reported a healthy instance again, and requests arrived until the end.
#[tokio::test(start_paused = true)]
async fn one_by_hand_that_ends_with_the_machine_leaves_it_hidden() {
    let scene = Scene::new();
    let ground = scene.ground();
    let by_hand = now(&scene.settings, &ground, async {
        scene.sleep(3).await;
        scene.machine.add_unit(FakeUnit::new("shutdown.target").active());
    });
    assert!(by_hand.await.is_err() && scene.is_hidden());
}

async fn note(leaving: Leaving<'_>, stages: [&'static str; 2]) {
    for stage in stages {
        leaving.note(stage, EntryState::Done, leaving.ground.host.clock.now(), String::new()).await;
    }
}

/// Regression: the drain that wrote last made the hook of the other one be completed again.
#[tokio::test(start_paused = true)]
async fn neither_forgets_what_the_other_has_done() {
    let scene = Scene::new();
    let (host, ground) = (scene.machine.host(), scene.ground());
    let leaving = async || Leaving::new(&scene.settings, &ground, "boot").await.unwrap();
    let (one, other) = (leaving().await, leaving().await);
    join(note(one, ["workers", "units"]), note(other, ["requests", "hook"])).await;
    let record = Record::load(host.files.clone(), host.users.own(), INSTANCE).await.unwrap();
    let record = record.apart(&scene.settings.address).await.unwrap();
    for stage in ["workers", "units", "requests", "hook"] {
        assert!(record.get(stage).is_some(), "{stage}");
    }
}
