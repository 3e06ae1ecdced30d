//! The number of messages that one call asks for.

use super::*;

/// Regression: every second call was for a single message.
#[tokio::test(start_paused = true)]
async fn of_a_queue_that_has_plenty_a_call_brings_ten() {
    let mut scene = Scene::new(false, |body, _| (Duration::from_millis(20 + body.parse::<u64>().unwrap() % 4), status(200)));
    scene.settings.concurrency = 10;
    scene.send(500);
    scene.work_for(at(20)).await;
    let wanted = scene.queue.calls("ReceiveMessage");
    assert!(scene.queue.left().is_empty() && wanted.len() <= 60, "{wanted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_free_while_others_are_not_is_not_left_empty() {
    let mut scene =
        Scene::new(false, |body, _| if body < "0009" { (at(3600), status(200)) } else { (Duration::from_millis(20), status(200)) });
    scene.settings.concurrency = 10;
    scene.send(109);
    let look = async {
        scene.machine.host().clock.sleep(at(20)).await;
        assert_eq!((scene.queue.left().len(), scene.application.running.get()), (9, 9));
    };
    tokio::select! { biased; () = scene.work_for(at(30)) => {}, () = look => {} }
}
