//! What it costs the messages if an application fails, crashes or is not ready, or if a machine or SQS misbehaves.

use jiff::Timestamp;

use super::*;
use crate::aws::client::call::Call;
use crate::aws::sqs::{Message, Receive, SERVICE};
use crate::worker::course::{Course, Event, Order};

/// How many times each message was received before it was deleted.
fn counts(scene: &Scene) -> BTreeMap<String, u32> {
    scene.queue.deleted().into_iter().collect()
}

fn asks_for_time() -> Answered {
    Answered::Status { status: 503, retry_after: Some("20".into()) }
}

/// Regression: by that clock every message was older than its retention, so the whole queue was
/// deleted, and nothing was posted.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_days_ahead_deletes_nothing() {
    let scene = Scene::new(false, soon);
    scene.queue.is_behind(at(5 * 86_400));
    scene.send(20);
    scene.work_for(at(5)).await;
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1; 20], Vec::new()));
}

/// Regression: each such answer made all other messages that arrived in the meantime go back.
#[tokio::test(start_paused = true)]
async fn what_asks_for_time_costs_the_others_nothing() {
    let mut scene = Scene::new(false, |body, count| {
        (Duration::from_millis(20), if body.ends_with('3') && count < 3 { asks_for_time() } else { status(200) })
    });
    scene.settings.concurrency = 50;
    scene.send(400);
    scene.work_for(at(90)).await;
    let counts = counts(&scene);
    assert_eq!(counts.len(), 400);
    assert!(counts.iter().all(|(body, count)| *count == if body.ends_with('3') { 3 } else { 1 }), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_under_load_costs_a_message_one_delivery_or_two() {
    let mut scene = Scene::new(false, |_, _| (Duration::from_millis(200), status(200)));
    scene.settings.concurrency = 50;
    scene.send(1000);
    let restart = async {
        let clock = scene.machine.host().clock;
        clock.sleep(Duration::from_millis(500)).await;
        scene.application.is_up.set(false);
        scene.application.crash.notify_waiters();
        clock.sleep(at(3)).await;
        scene.application.is_up.set(true);
    };
    tokio::join!(scene.work_for(at(60)), restart);
    let counts = counts(&scene);
    assert_eq!(counts.len(), 1000);
    assert!(counts.values().all(|count| *count <= 3), "{counts:?}");
}

/// Regression: it took all other messages with it to the dead-letter queue.
#[tokio::test(start_paused = true)]
async fn a_message_that_ends_the_application_takes_no_others_to_the_dead_letters() {
    let most = 5;
    let mut scene = Scene::new(false, move |body, count| match body {
        "0017" if count <= most => (Duration::from_millis(100), Answered::CutOff("crashes".into())),
        _ => (Duration::from_millis(200), status(200)),
    });
    scene.settings.concurrency = 50;
    scene.send(200);
    let supervisor = async {
        loop {
            scene.machine.host().clock.sleep(at(1)).await;
            scene.application.is_up.set(true);
        }
    };
    tokio::select! {
        () = scene.work_for(at(200)) => {}
        () = supervisor => {}
    }
    let mut counts = counts(&scene);
    assert_eq!(counts.len(), 200);
    assert!(counts.remove("0017").is_some_and(|count| count > most));
    assert!(counts.values().all(|count| *count <= most), "{counts:?}");
}

/// Regression: all other messages waited for those that its remaining processes had in hand,
/// possibly for an hour, and went back in the meantime.
#[tokio::test(start_paused = true)]
async fn one_process_of_the_application_that_ends_keeps_no_message_from_the_others() {
    let long = 20;
    let mut scene = Scene::new(false, move |body, count| match (body.parse::<usize>().unwrap(), count) {
        (n, _) if n < long => (at(3600), status(200)),
        (n, 1) if n == long => (Duration::from_millis(100), Answered::CutOff("its process has ended".into())),
        _ => (Duration::from_millis(20), status(200)),
    });
    scene.settings.concurrency = 50;
    scene.send(long + 1);
    let look = async {
        let clock = scene.machine.host().clock;
        clock.sleep(at(3)).await;
        (100..400).for_each(|n| scene.queue.send(&format!("{n:04}")));
        clock.sleep(at(20)).await;
        let counts = counts(&scene);
        assert_eq!((counts.len(), scene.application.running.get()), (301, long), "{counts:?}");
        assert!(counts.values().all(|count| *count <= 2), "{counts:?}");
    };
    tokio::select! { biased; () = scene.work_for(at(30)) => {}, () = look => {} }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_fails_and_is_not_ready_gets_no_more() {
    let mut scene = Scene::new(false, |_, _| (Duration::from_millis(20), status(500)));
    scene.settings.to.ready = Some("/health".into());
    scene.send(100);
    let outage = async {
        let clock = scene.machine.host().clock;
        scene.application.is_ready.set(false);
        clock.sleep(Duration::from_millis(50)).await;
        scene.application.is_ready.set(true);
        clock.sleep(at(3)).await;
        scene.application.is_ready.set(false);
        clock.sleep(at(10)).await;
        let status = scene.status().await.unwrap();
        assert_eq!((status.doing, status.waiting.as_deref()), (Doing::Paused, Some("status 503")));
        let began = scene.application.began.borrow().len();
        clock.sleep(at(60)).await;
        assert_eq!(scene.application.began.borrow().len(), began);
    };
    tokio::join!(scene.work_for(at(80)), outage);
    assert_eq!(scene.queue.left().len(), 100);
}

/// docker accepts connections on behalf of the container.
#[tokio::test(start_paused = true)]
async fn a_published_port_where_nobody_listens_inside_gets_nothing() {
    let mut scene = Scene::new(false, soon);
    scene.settings.to.published = true;
    scene.application.is_ready.set(false);
    scene.send(10);
    scene.work_for(at(10)).await;
    assert_eq!(scene.queue.left().iter().map(|(_, count)| *count).max(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_message_stays_hidden_also_while_sqs_throttles() {
    let scene = Scene::new(false, |_, _| (at(100), status(200)));
    scene.send(3);
    let throttling = async {
        for _ in 0..90 {
            scene.machine.host().clock.sleep(at(1)).await;
            scene.queue.refuse("ChangeMessageVisibilityBatch", "RequestThrottled");
            assert_eq!(scene.queue.visible(), [""; 0], "at {:?}", scene.elapsed());
        }
    };
    // A third of its calls succeed.
    let leave = async {
        for _ in 0..30 {
            scene.machine.host().clock.sleep(at(3)).await;
            scene.queue.recover();
        }
    };
    tokio::join!(scene.work_for(at(110)), throttling, leave);
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1; 3], Vec::new()));
}

/// Regression: it took the whole of `drain`, an hour.
#[tokio::test(start_paused = true)]
async fn a_stop_is_soon_where_sqs_takes_nothing() {
    let mut scene = Scene::new(false, soon);
    scene.settings.drain = at(3600);
    scene.send(3);
    (0..1000).for_each(|_| scene.queue.refuse("DeleteMessageBatch", "QueueDoesNotExist"));
    scene.work_for(at(10)).await;
    assert!(scene.elapsed() < at(45), "{:?}", scene.elapsed());
}

#[tokio::test(start_paused = true)]
async fn asked_a_second_time_it_cuts_off_what_it_has() {
    let scene = Scene::new(false, |_, _| (at(600), status(200)));
    scene.send(5);
    let clock = scene.machine.host().clock;
    let stops = stream::unfold((), |()| async {
        clock.sleep(at(20)).await;
        Some(((), ()))
    });
    scene.work_until(stops).await;
    assert!(scene.elapsed() < at(42), "{:?}", scene.elapsed());
    assert_eq!((scene.queue.visible().len(), scene.application.running.get()), (5, 0));
}

/// Regression: if several receptions were lost at once, only one was repeated, and the messages
/// of the others stayed hidden.
#[test]
fn of_a_fifo_queue_each_lost_reception_is_made_again() {
    let settings = Scene::new(true, soon).settings;
    let mut course = Course::new(settings, true, Status::default());
    let attempts = |course: &mut Course, now: Duration| {
        let orders = course.orders(now);
        orders.into_iter().filter_map(|order| if let Order::Receive(wanted) = order { Some(wanted) } else { None }).collect::<Vec<_>>()
    };
    let take = |course: &mut Course, event, now| course.take(event, now, Timestamp::UNIX_EPOCH);
    let received = |wanted: &Receive, asked, result| Event::Received { wanted: wanted.clone(), asked, time: Timestamp::UNIX_EPOCH, result };
    assert!(attempts(&mut course, at(0)).is_empty());
    take(&mut course, Event::Probed { answer: Ok(()), is_late: false }, at(0));
    let first = attempts(&mut course, at(0)).remove(0);
    take(&mut course, received(&first, at(0), Ok(vec![Message { id: "m".into(), ..Message::default() }])), at(1));
    let mut lost = attempts(&mut course, at(1));
    assert_eq!(lost.len(), 4, "as many as there is room for");
    for wanted in &lost {
        let error = Call::new(SERVICE, "ReceiveMessage", "jobs.fifo").refused(Some("ServiceUnavailable"), None, Some(503));
        take(&mut course, received(wanted, at(1), Err(error)), at(2));
    }
    let mut again = attempts(&mut course, at(30));
    let key = |wanted: &Receive| wanted.attempt.clone();
    lost.sort_by_key(key);
    again.sort_by_key(key);
    assert_eq!(again, lost);
}
