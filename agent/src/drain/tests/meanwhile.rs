//! Events in the middle of a drain or of something else.

use std::path::Path;

use super::*;
use crate::steps::drain::LEAVING;

impl Scene {
    /// A scene whose load balancer never deregisters the instance, so that a drain lasts as long as it may.
    pub(super) fn held(grace: u64, state: Option<&'static str>) -> Self {
        let mut scene = Self::new();
        (scene.settings.targets, scene.settings.grace_ms) = (vec![GROUP.into()], grace * 1000);
        scene.balancers.finds(GROUP, &["draining"]);
        scene.groups.set(Some("shop"), &[("leaving", 30)]);
        *scene.told.state.borrow_mut() = state;
        scene
    }
}

impl Scene {
    /// Watches until `first` completes and for a while longer, during which the lock must not be free.
    async fn no_boot_begins_after(&self, first: impl Future<Output = ()>) {
        let ground = self.ground();
        let watching = watch(&self.settings, &ground, async || pending().await);
        let look = async {
            first.await;
            for _ in 0..30 {
                self.sleep(1).await;
                assert!(self.machine.lock_by(7).is_err(), "{}", self.seconds());
            }
        };
        tokio::select! { biased; over = watching => panic!("{over:?}"), () = look => {} }
    }
}

#[tokio::test(start_paused = true)]
async fn terminated_in_the_middle_of_another_drain_the_hook_is_kept_waiting() {
    let mut scene = Scene::held(300, Some("InService"));
    scene.settings.rebalance = true;
    scene.told.rebalance.set(true);
    scene.groups.begins_after(50);
    let later = async {
        scene.sleep(50).await;
        *scene.told.state.borrow_mut() = Some("Terminated");
        while scene.completed().is_empty() {
            scene.sleep(1).await;
        }
        assert!((300..310).contains(&scene.seconds()) && scene.groups.count("RecordLifecycleActionHeartbeat") > 20);
    };
    scene.no_boot_begins_after(later).await;
    assert_eq!(scene.completed(), [ActionResult::Continue]);
    // The same after its process was killed.
    scene.no_boot_begins_after(async {}).await;
}

#[tokio::test(start_paused = true)]
async fn terminated_in_the_middle_of_a_drain_by_hand_the_hook_is_kept_waiting() {
    let scene = Scene::held(120, Some("Terminated"));
    now(&scene.settings, &scene.ground(), pending()).await.unwrap();
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]));
}

#[tokio::test(start_paused = true)]
async fn an_interruption_in_the_middle_of_a_longer_drain_hurries_it() {
    let scene = Scene::held(3000, Some("Terminated"));
    let later = async {
        scene.sleep(20).await;
        scene.interrupt(120);
    };
    let (over, ()) = tokio::join!(scene.watch(), later);
    over.unwrap();
    assert!((120..130).contains(&scene.seconds()), "{}", scene.seconds());
    assert_eq!(scene.up().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ec2_s_drains_nothing() {
    let mut scene = Scene::new();
    scene.settings.rebalance = true;
    for notice in ["<html>404</html>", "{}", r#"{"action": "hibernate", "time": "2026-11-30T15:00:00Z"}"#] {
        *scene.told.interruption.borrow_mut() = Some(notice.into());
        scene.watch_for(600).await;
    }
    scene.interrupt(-3600);
    scene.watch_for(600).await;
    assert_eq!((scene.up().len(), scene.is_hidden()), (3, false));
}

#[tokio::test(start_paused = true)]
async fn an_interruption_is_seen_where_the_state_is_not_told() {
    let mut scene = Scene::new();
    scene.settings.hook = None;
    scene.told.silent.set(1_000_000);
    scene.interrupt(120);
    scene.watch_for(130).await;
    assert_eq!(scene.up().len(), 0);
}

/// Regression: the machine had no hook, and a boot began on it before EC2 took it.
#[tokio::test(start_paused = true)]
async fn without_a_hook_no_boot_begins_before_ec2_takes_the_machine() {
    let mut scene = Scene::new();
    scene.settings.hook = None;
    scene.interrupt(120);
    scene.no_boot_begins_after(scene.sleep(100)).await;
    // The same after its process was killed.
    let ground = scene.ground();
    let watching = watch(&scene.settings, &ground, async || pending().await);
    let look = async {
        scene.sleep(1).await;
        assert!(scene.machine.lock_by(7).is_err());
        scene.sleep(40).await;
        assert!(scene.machine.lock_by(7).is_ok());
    };
    tokio::select! { biased; over = watching => panic!("{over:?}"), () = look => {} }
    // Auto Scaling's sign follows.
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.no_boot_begins_after(scene.sleep(10)).await;
}

#[tokio::test(start_paused = true)]
async fn no_boot_begins_on_a_machine_that_was_terminated() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    // The second round is after its process was killed.
    for _ in 0..2 {
        let ground = scene.ground();
        let watching = watch(&scene.settings, &ground, async || pending().await);
        let look = async {
            scene.sleep(600).await;
            assert_eq!(scene.completed(), [ActionResult::Continue]);
            assert!(scene.machine.lock_by(7).is_err());
        };
        tokio::select! { biased; over = watching => panic!("{over:?}"), () = look => {} }
    }
}

/// Regression: a watcher that was restarted after everything was done did not notice for 75
/// seconds that it was asked to stop, and was killed.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_boot_is_asked_to_stop_all_the_same() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.watch().await.unwrap();
    let (_boot, begun) = (scene.machine.lock_by(7).unwrap(), scene.seconds());
    watch(&scene.settings, &scene.ground(), async || scene.sleep(10).await).await.unwrap();
    assert_eq!(scene.seconds() - begun, 10);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_machine_that_was_not_taken_away_boots_again() {
    let scene = Scene::new();
    scene.groups.begins_after(100_000);
    scene.interrupt(120);
    let look = async {
        scene.sleep(130).await;
        assert_eq!(scene.up().len(), 0);
        assert!(scene.machine.lock_by(7).is_err());
        scene.sleep(30).await;
        assert!(scene.machine.lock_by(7).is_ok());
    };
    tokio::select! { biased; over = scene.watch() => panic!("{over:?}"), () = look => {} }
    // The machine was not interrupted, but the notice stays in metadata.
    scene.boot().await;
    scene.watch_for(600).await;
    assert_eq!((scene.up().len(), scene.is_hidden()), (3, false));
}

/// Regression: a machine that was brought back was drained at once for the same recommendation,
/// which stays in metadata.
#[tokio::test(start_paused = true)]
async fn one_that_was_brought_back_is_not_drained_for_the_same_notice_again() {
    let mut scene = Scene::new();
    (scene.settings.rebalance, scene.settings.serving) = (true, Vec::new());
    scene.told.rebalance.set(true);
    scene.groups.begins_after(100_000);
    scene.watch_for(100).await;
    assert!(!scene.up().contains(&WORKER.to_owned()) && scene.is_hidden());
    scene.boot().await;
    scene.watch_for(600).await;
    assert_eq!((scene.up().len(), scene.is_hidden()), (3, false));
    // The same after a manual drain and the boot that ends it.
    now(&scene.settings, &scene.ground(), pending()).await.unwrap();
    scene.boot().await;
    scene.watch_for(600).await;
    assert_eq!((scene.up().len(), scene.is_hidden()), (3, false));
    // A different sign does start a drain.
    scene.interrupt(120);
    scene.watch_for(110).await;
    assert!(!scene.up().contains(&WORKER.to_owned()) && scene.is_hidden());
}

#[tokio::test(start_paused = true)]
async fn what_may_not_wait_for_a_boot_does_not() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    let boot = scene.machine.lock_by(7).unwrap();
    let later = async {
        scene.sleep(3).await;
        assert_eq!(scene.up(), SERVICES);
        assert_eq!(scene.groups.count("RecordLifecycleActionHeartbeat"), 1);
        // A worker that the boot starts is asked to stop as well.
        scene.machine.add_unit(FakeUnit::new(WORKER).active().restarts(&[0]));
        scene.sleep(3).await;
        assert_eq!(scene.up(), SERVICES);
        scene.sleep(40).await;
        drop(boot);
    };
    let (over, ()) = tokio::join!(scene.watch(), later);
    over.unwrap();
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]));
}

/// Regression: Run Command does not start its boot as a unit, and the boot continued during the drain.
#[tokio::test(start_paused = true)]
async fn a_boot_that_goes_on_is_ended_whoever_has_started_it() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    let _boot = scene.machine.lock_by(7).unwrap();
    let holder = || scene.machine.lock_by(8).err().map(|error| error.to_string());
    let look = async {
        scene.sleep(59).await;
        assert_eq!(holder().as_deref(), Some("another ingot is at work (process 7)"));
        scene.sleep(3).await;
        let drain = format!("another ingot is at work (process {})", std::process::id());
        assert_eq!((holder(), scene.up()), (Some(drain), SERVICES.map(str::to_owned).into()));
    };
    let (over, ()) = tokio::join!(scene.watch(), look);
    over.unwrap();
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]));
}

/// Regression: when a manual drain was ended, its process made the proxy report a healthy instance again.
#[tokio::test(start_paused = true)]
async fn a_drain_by_hand_that_goes_on_is_taken_over() {
    let scene = Scene::held(300, Some("Terminated"));
    let _by_hand = scene.machine.lock_by(7).unwrap();
    let look = async {
        scene.sleep(59).await;
        assert!(scene.is_hidden());
        scene.machine.host().files.remove(Path::new(LEAVING)).await.unwrap();
        scene.sleep(3).await;
        assert!(scene.is_hidden());
    };
    tokio::select! { biased; over = scene.watch() => panic!("{over:?}"), () = look => {} }
}

#[tokio::test(start_paused = true)]
async fn a_drain_by_hand_that_was_given_up_is_not_gone_on_with() {
    let scene = Scene::held(300, Some("InService"));
    let ground = scene.ground();
    let error = now(&scene.settings, &ground, scene.sleep(60)).await.unwrap_err().to_string();
    assert!(error.contains("run `ingot boot`") && !scene.is_hidden(), "{error}");
    assert_eq!(scene.up(), SERVICES);
    scene.machine.add_unit(FakeUnit::new(WORKER).active());
    scene.watch_for(1000).await;
    assert_eq!(scene.up().len(), 3);
    // A new sign has its full time, and a worker that was brought back is asked to stop.
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.groups.begins_after(1060);
    scene.watch().await.unwrap();
    assert!((1360..1370).contains(&scene.seconds()), "{}", scene.seconds());
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]));
}

#[tokio::test(start_paused = true)]
async fn what_was_brought_back_after_a_drain_is_drained_again() {
    let mut scene = Scene::new();
    scene.settings.rebalance = true;
    scene.told.rebalance.set(true);
    scene.groups.begins_after(600);
    scene.watch_for(100).await;
    assert_eq!(scene.up().len(), 0);
    scene.machine.add_unit(FakeUnit::new(WORKER).active());
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.watch().await.unwrap();
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]));
    assert_eq!(scene.objects.all().len(), 2, "each drain has evidence of its own");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_systemd_starts_again_and_again_is_stopped() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.machine.add_unit(FakeUnit::new(WORKER).active().loops(1));
    scene.watch().await.unwrap();
    assert!(scene.seconds() < 60 && !scene.machine.snapshot().to_string().contains("auto-restart"), "{}", scene.machine.snapshot());
}

#[tokio::test(start_paused = true)]
async fn a_systemd_that_does_not_answer_does_not_count_as_no_worker() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.machine.does_not_answer(5);
    scene.watch().await.unwrap();
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]));
}
