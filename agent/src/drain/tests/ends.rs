//! Drains in which something does not end in time, or not as it should.

use super::*;
use crate::host::sockets::Endpoint;

const OTHER: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/api/0123456789abcdef";

impl Scene {
    fn terminated() -> Self {
        let scene = Self::new();
        *scene.told.state.borrow_mut() = Some("Terminated");
        scene
    }

    fn slow(&self, unit: &str, minutes: u64) {
        self.machine.add_unit(FakeUnit::new(unit).active().stops_within(Duration::from_secs(60 * minutes)));
    }
}

/// Regression: the hook was completed while the unit was stopping, and EC2 took the machine.
#[tokio::test(start_paused = true)]
async fn a_unit_that_takes_its_time_to_stop_is_waited_for() {
    let scene = Scene::terminated();
    scene.slow("db.service", 40);
    scene.watch().await.unwrap();
    assert!(scene.seconds() > 40 * 60 && scene.groups.count("RecordLifecycleActionHeartbeat") > 20, "{}", scene.seconds());
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]));
}

#[tokio::test(start_paused = true)]
async fn before_ec2_takes_it_every_unit_is_asked() {
    let mut scene = Scene::new();
    scene.settings.hook = None;
    scene.settings.serving.insert(0, "services.cache.service".into());
    scene.machine.add_unit(FakeUnit::new("cache.service").active());
    scene.slow("web.service", 5);
    scene.slow("db.service", 5);
    scene.interrupt(120);
    let watching = scene.watch();
    let look = async {
        scene.sleep(119).await;
        assert!(!scene.machine.snapshot().to_string().contains("cache.service  active"), "{}", scene.machine.snapshot());
    };
    tokio::select! { biased; _ = watching => {}, () = look => {} }
    assert!(scene.seconds() <= 119, "{}", scene.seconds());
}

/// Regression: the service came back with the next connection to its socket.
#[tokio::test(start_paused = true)]
async fn what_would_start_a_service_again_is_stopped_before() {
    let scene = Scene::terminated();
    scene.machine.add_unit(FakeUnit::new("web.socket").active());
    scene.machine.add_unit(FakeUnit::new("web.service").active().triggered_by("web.socket"));
    scene.watch().await.unwrap();
    assert!(!scene.machine.snapshot().to_string().contains("web.socket  active"), "{}", scene.machine.snapshot());
}

#[tokio::test(start_paused = true)]
async fn of_target_groups_that_may_not_be_looked_at_the_others_tell_all_the_same() {
    let mut scene = Scene::terminated();
    scene.settings.targets = vec![GROUP.into(), OTHER.into()];
    scene.balancers.finds(GROUP, &["! AccessDenied"]);
    let draining = ["draining"; 12];
    scene.balancers.finds(OTHER, &[&draining[..], &["unused"]].concat());
    scene.watch().await.unwrap();
    // Without an answer, the drain then continues as without target groups.
    assert!(scene.balancers.count() > 20 && scene.seconds() > 30, "{}", scene.seconds());
}

/// A target group that Auto Scaling does not manage only drops the instance because of its health.
#[tokio::test(start_paused = true)]
async fn a_group_that_auto_scaling_does_not_manage_is_told_by_the_health_path() {
    let mut scene = Scene::terminated();
    (scene.settings.targets, scene.settings.grace_ms) = (vec![GROUP.into()], 600_000);
    scene.balancers.finds(GROUP, &["healthy", "healthy", "unhealthy Target.ResponseCodeMismatch"]);
    let look = async {
        scene.sleep(10).await;
        assert!(scene.is_hidden() && scene.up().len() == 2, "Auto Scaling may yet take it out");
    };
    let (over, ()) = tokio::join!(scene.watch(), look);
    over.unwrap();
    assert!((15..40).contains(&scene.seconds()), "{}", scene.seconds());
}

/// Regression: under steady load a load balancer needs no new connection, and the proxy was
/// stopped while it was in use.
#[tokio::test(start_paused = true)]
async fn whoever_keeps_a_connection_is_served() {
    for (port, at_least) in [(80, 80), (5000, 30)] {
        let mut scene = Scene::terminated();
        scene.settings.serving.push("applications.shop".into());
        scene.machine.set_connections(Endpoint::Port(port), 3);
        let later = async {
            scene.sleep(80).await;
            scene.machine.set_connections(Endpoint::Port(port), 0);
        };
        let watching = async {
            scene.watch().await.unwrap();
            scene.seconds()
        };
        let (ended, ()) = tokio::join!(watching, later);
        assert!((at_least..at_least + 15).contains(&ended), "{port}: {ended}");
    }
}

/// A request that takes longer than the proxy's stop timeout.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_is_waited_for_where_the_balancer_has_let_go() {
    let mut scene = Scene::terminated();
    scene.settings.serving.push("applications.shop".into());
    scene.settings.targets = vec![GROUP.into()];
    scene.balancers.finds(GROUP, &["unused"]);
    let socket = || Endpoint::Path("/run/ingot/proxy/slots/shop-a/http.sock".into());
    scene.machine.set_connections(socket(), 1);
    let later = async {
        scene.sleep(50).await;
        scene.machine.set_connections(socket(), 0);
    };
    let (over, ()) = tokio::join!(scene.watch(), later);
    over.unwrap();
    assert!((50..60).contains(&scene.seconds()), "{}", scene.seconds());
}

/// Auto Scaling waits for at most a hundred timeouts, however many heartbeats it receives.
#[tokio::test(start_paused = true)]
async fn work_is_given_back_before_the_hook_waits_no_more() {
    let mut scene = Scene::held(2 * 3600, Some("Terminated"));
    scene.settings.evidence.clear();
    scene.watch().await.unwrap();
    assert!((2800..2990).contains(&scene.seconds()), "{}", scene.seconds());
    assert_eq!(scene.completed(), [ActionResult::Continue]);
}
