//! A worker that was asked to stop, and has messages in hand that take long.

use super::*;
use crate::steps::worker::settings::Task;

/// Regression: if it was the only worker, nothing sent what came due in the meantime.
#[tokio::test(start_paused = true)]
async fn what_comes_due_is_sent_until_the_last_message_is_done() {
    let mut scene = Scene::new(true, |_, _| (at(1800), status(200)));
    scene.settings.drain = at(3600);
    let schedule = "*/10 * * * *".into();
    scene.settings.tasks = vec![Task { name: "a".into(), schedule, time_zone: "UTC".into(), path: "/a".into(), catch_up: at(240) }];
    scene.send(1);
    scene.work_for(at(30)).await;
    assert!(at(1800) <= scene.elapsed() && scene.elapsed() < at(1802), "{:?}", scene.elapsed());
    assert!((2..=4).contains(&scene.queue.left().len()), "{:?}", scene.queue.left());
    assert_eq!(scene.seen(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_is_not_in_the_way_of_who_stops_the_application() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("hold");
    let scene = Scene { hold: Some(socket.clone()), ..Scene::new(false, |_, _| (at(600), status(200))) };
    scene.send(5);
    let clock = scene.machine.host().clock;
    let switch = async {
        clock.sleep(at(69)).await;
        let mut hold = crate::net::holds::Holds::hold(&crate::net::holds::NetHolds, &socket, 5000).await;
        // SQS does not answer the last calls.
        for _ in 0..20 {
            scene.queue.refuse("ChangeMessageVisibilityBatch", "ServiceUnavailable");
        }
        hold.finished().await;
        assert!(clock.elapsed() < at(72), "{:?}", clock.elapsed());
    };
    tokio::join!(scene.work_for(at(10)), switch);
}
