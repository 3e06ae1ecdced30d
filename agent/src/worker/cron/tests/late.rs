//! Late times: because no instance was up, because they had to wait, or because a clock was wrong.

use super::*;

const DAY: i64 = 86_400;

/// Regression: it took the times of three days, and what came due in them was never sent.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_days_ahead_takes_nothing_away_from_the_days_to_come() {
    let fleet = Fleet::new(1, false, minutes(180));
    let off = Rc::new(Cell::new(SignedDuration::ZERO));
    let jump = async {
        fleet.until(minutes(10)).await;
        off.set(SignedDuration::from_secs(3 * DAY));
    };
    futures_util::join!(fleet.life(&off, minutes(15)), jump);
    fleet.life(&off, minutes(20)).await.unwrap();
    // The whole fleet is down.
    fleet.until(minutes(110)).await;
    let [task] = fleet.life(&Rc::default(), minutes(112)).await.unwrap().try_into().unwrap();
    let came = fleet.came.borrow();
    let times = fleet.times();
    assert!(times[..111].iter().all(|time| came.get(time).is_some_and(|messages| messages.len() == 1)), "{came:?}");
    assert!(came.keys().all(|time| time.as_str() < "2026-11-30T02:00:00Z"), "{came:?}");
    assert_eq!(task.missed, 0, "{task:?}");
}

/// Regression: it reported all times as missed that the others had sent in those hours.
#[tokio::test(start_paused = true)]
async fn what_others_sent_while_one_was_suspended_is_not_missed() {
    let fleet = Fleet::new(1, false, minutes(5));
    let right = Rc::default();
    let mut suspended = std::pin::pin!(fleet.life(&right, minutes(200)));
    tokio::select! { biased; _ = &mut suspended => unreachable!(), () = fleet.until(minutes(10)) => {} }
    fleet.life(&right, minutes(190)).await.unwrap();
    let [task] = suspended.await.unwrap().try_into().unwrap();
    assert_eq!((task.missed, fleet.missed.get()), (0, 0), "{task:?}");
    assert!(fleet.times()[..199].iter().all(|time| fleet.came.borrow().contains_key(time)));
}

/// Regression: a time that waited for a free place was tried and sent before its lateness was checked.
#[tokio::test(start_paused = true)]
async fn a_time_that_got_too_late_in_the_line_is_not_sent() {
    let fleet = Fleet::new(1, false, minutes(5));
    let fate = Rc::new(Fate { rng: fleet.rng.clone(), killed: Notify::new(), is_hard: Rc::default(), deaths: Rc::default() });
    let name = QueueName::parse("jobs").unwrap();
    let objects = Rc::new(Route { objects: fleet.objects.clone(), fate });
    let right = Wall { begun: fleet.begun, off: Rc::default() };
    let host = Host { clock: Rc::new(right), ..fleet.machine.host() };
    let cron = Cron::of(&fleet.settings, fleet.queue.clone(), (name, "jobs"), objects, host).await.unwrap().unwrap();
    let due = |minute| Due { task: 0, at: start().checked_add(minutes(minute)).unwrap() };
    fleet.until(minutes(10)).await;
    cron.clone().settle(due(4)).await;
    assert_eq!((cron.status()[0].sent, cron.status()[0].missed), (0, 1));
    cron.clone().settle(due(6)).await;
    assert_eq!((cron.status()[0].sent, cron.status()[0].missed), (1, 1));
}

/// No instance is up for three hours: what `catch_up` covers is sent, and the rest is reported.
#[tokio::test(start_paused = true)]
async fn what_nobody_was_up_for_is_caught_up_or_told() {
    let fleet = Fleet::new(1, false, minutes(30));
    fleet.life(&Rc::default(), minutes(10)).await.unwrap();
    fleet.until(minutes(190)).await;
    let [task] = fleet.life(&Rc::default(), minutes(192)).await.unwrap().try_into().unwrap();
    assert_eq!((task.sent, task.missed), (32, 150), "{task:?}");
    assert_eq!(fleet.came.borrow().len(), 10 + 32);
}

#[tokio::test(start_paused = true)]
async fn what_is_skipped_is_told() {
    let fleet = Fleet::new(1, false, minutes(5));
    fleet.life(&Rc::default(), minutes(10)).await.unwrap();
    fleet.until(minutes(70)).await;
    let [task] = fleet.life(&Rc::default(), minutes(71)).await.unwrap().try_into().unwrap();
    assert_eq!((task.sent, task.missed), (6, 55), "{task:?}");
    let [task] = fleet.life(&Rc::default(), minutes(72)).await.unwrap().try_into().unwrap();
    assert_eq!((task.sent, task.missed), (1, 0), "told once: {task:?}");
}
