//! A worker that is held while its application is replaced.

use std::path::PathBuf;

use super::*;
use crate::net::holds::{Holds as _, NetHolds};
use crate::steps::worker::settings::Slots;

const LINK: &str = "/run/ingot/proxy/shop";

/// A scene whose worker can be held, and the socket for that.
fn scene(takes: u64) -> (Scene, PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("hold");
    let scene = Scene { hold: Some(socket.clone()), ..Scene::new(false, move |_, _| (at(takes), status(200))) };
    (scene, socket, directory)
}

#[tokio::test(start_paused = true)]
async fn it_finishes_what_it_has_takes_no_more_and_goes_on_afterwards() {
    let (scene, socket, _directory) = scene(30);
    scene.send(8);
    let clock = scene.machine.host().clock;
    let switch = async {
        clock.sleep(at(10)).await;
        let mut hold = NetHolds.hold(&socket, 5000).await;
        hold.finished().await;
        assert!(at(30) <= clock.elapsed() && clock.elapsed() < at(32), "{:?}", clock.elapsed());
        assert_eq!((scene.application.ended.borrow().len(), scene.application.running.get()), (5, 0));
        scene.application.is_up.set(false);
        clock.sleep(at(60)).await;
        let status = scene.status().await.unwrap();
        assert_eq!((status.doing, status.waiting.as_deref()), (Doing::Paused, Some("the application is being replaced")));
        assert_eq!((scene.application.began.borrow().len(), scene.queue.visible().len()), (5, 3), "{:?}", scene.queue.left());
        drop(hold);
        clock.sleep(at(5)).await;
        assert_eq!(scene.application.began.borrow().len(), 5, "it is not ready yet");
        scene.application.is_up.set(true);
    };
    tokio::join!(scene.work_for(at(200)), switch);
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1; 8], Vec::new()));
}

/// Such messages arrive with the answer to a reception that was in flight.
#[tokio::test(start_paused = true)]
async fn what_comes_while_it_is_held_goes_back_at_once() {
    let (scene, socket, _directory) = scene(1);
    let clock = scene.machine.host().clock;
    let switch = async {
        clock.sleep(at(10)).await;
        let mut hold = NetHolds.hold(&socket, 5000).await;
        hold.finished().await;
        scene.send(3);
        clock.sleep(at(1)).await;
        assert_eq!((scene.application.began.borrow().len(), scene.queue.visible().len()), (0, 3));
    };
    tokio::join!(scene.work_for(at(60)), switch);
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1; 3], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn of_two_releases_only_what_the_one_before_has_is_waited_for() {
    let (mut scene, socket, _directory) = scene(30);
    scene.settings.to.slots = Some(Slots { link: LINK.into(), a: 15_000, b: 25_000 });
    scene.settings.concurrency = 10;
    scene.machine.add_link(LINK, "slots/shop-a");
    scene.send(5);
    let clock = scene.machine.host().clock;
    let switch = async {
        clock.sleep(at(10)).await;
        scene.machine.add_link(LINK, "slots/shop-b");
        ["a", "b", "c"].iter().for_each(|body| scene.queue.send(body));
        clock.sleep(at(1)).await;
        let mut hold = NetHolds.hold(&socket, 15_000).await;
        ["d", "e"].iter().for_each(|body| scene.queue.send(body));
        hold.finished().await;
        assert!(clock.elapsed() < at(32), "{:?}", clock.elapsed());
        assert_eq!((scene.application.ended.borrow().len(), scene.application.running.get()), (5, 5), "it is not paused");
    };
    tokio::join!(scene.work_for(at(100)), switch);
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1; 10], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_while_it_is_held_answers_all_the_same() {
    let (scene, socket, _directory) = scene(30);
    scene.send(5);
    let clock = scene.machine.host().clock;
    let switch = async {
        clock.sleep(at(10)).await;
        let mut hold = NetHolds.hold(&socket, 5000).await;
        hold.finished().await;
        assert!(at(30) <= clock.elapsed() && clock.elapsed() < at(32), "{:?}", clock.elapsed());
    };
    tokio::join!(scene.work_for(at(15)), switch);
    assert!(scene.queue.left().is_empty(), "{:?}", scene.queue.left());
}

/// Regression: messages that were cut off counted as in hand until SQS accepted their return, so the holder waited.
#[tokio::test(start_paused = true)]
async fn what_was_cut_off_is_in_nobody_s_hand() {
    let (mut scene, socket, _directory) = scene(3000);
    scene.settings.drain = at(20);
    scene.send(5);
    let clock = scene.machine.host().clock;
    let switch = async {
        clock.sleep(at(10)).await;
        let mut hold = NetHolds.hold(&socket, 5000).await;
        (0..200).for_each(|_| scene.queue.refuse("ChangeMessageVisibilityBatch", "ServiceUnavailable"));
        hold.finished().await;
        assert!(at(35) <= clock.elapsed() && clock.elapsed() < at(37), "{:?}", clock.elapsed());
        clock.elapsed()
    };
    let ((), held_until) = tokio::join!(scene.work_for(at(15)), switch);
    assert!(clock.elapsed() > held_until, "it has gone on to tell SQS: {:?}", clock.elapsed());
}
