//! A worker that is killed.

use super::*;

/// No message is lost, and at most those in hand and the ten waiting for deletion are delivered twice.
#[tokio::test(start_paused = true)]
async fn a_kill_at_any_moment_loses_nothing_and_repeats_little() {
    let room = 5;
    for round in 0..60_u64 {
        let scene = Scene::new(false, |_, _| (Duration::from_millis(fastrand::u64(0..120)), status(200)));
        scene.send(200);
        let kills = 4;
        for kill in 0..kills {
            scene.killed_after(Duration::from_millis(37 * round + 113 * kill + 1)).await;
            // By then, its messages are visible to others again.
            scene.machine.host().clock.sleep(at(31)).await;
        }
        scene.work_for(at(60)).await;
        assert!(scene.queue.left().is_empty(), "round {round}: {:?}", scene.queue.left());
        let seen = scene.seen();
        assert_eq!(seen.len(), 200, "round {round}");
        let twice = seen.iter().map(|count| count - 1).sum::<u32>();
        assert!(u64::from(twice) <= kills * (room + 10), "round {round}: {twice}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fifo_queue_keeps_its_order_over_kills() {
    for round in 0..20_u64 {
        let scene = Scene::new(true, |_, _| (Duration::from_millis(fastrand::u64(0..60)), status(200)));
        scene.send(60);
        for kill in 0..3_u64 {
            scene.killed_after(Duration::from_millis(29 * round + 211 * kill + 1)).await;
            scene.machine.host().clock.sleep(at(31)).await;
        }
        scene.work_for(at(60)).await;
        let mut order: Vec<String> = scene.application.began.borrow().iter().map(|(_, body)| body.clone()).collect();
        order.dedup();
        assert_eq!(order, (0..60).map(|n| format!("{n:04}")).collect::<Vec<_>>(), "round {round}");
        let twice = scene.seen().iter().map(|count| count - 1).sum::<u32>();
        assert!(twice <= 3, "round {round}: {twice}");
    }
}
