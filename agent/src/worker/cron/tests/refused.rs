//! A task whose claims S3 refuses.

use super::*;

/// An S3 that refuses some writes of claims.
struct Refusing {
    route: Route,
    refuses: fn(&str, Only<'_>) -> bool,
}

#[async_trait(?Send)]
impl Objects for Refusing {
    async fn open(&self, source: &Source, digest: bool) -> Result<Box<dyn Object>, AwsError> {
        self.route.open(source, digest).await
    }

    async fn look(&self, source: &Source) -> Result<Option<Found>, AwsError> {
        self.route.look(source).await
    }

    async fn write(&self, source: &Source, body: Bytes, only: Only<'_>, upload: Option<&Upload>) -> Result<Written, AwsError> {
        if (self.refuses)(&source.to_string(), only) {
            return Err(Call::new(crate::aws::s3::SERVICE, PUT, source.to_string()).refused(Some("AccessDenied"), None, Some(403)));
        }
        self.route.write(source, body, only, upload).await
    }
}

/// The status of the tasks `a` and `b` after three hours in which both are due every minute.
async fn after_three_hours(catch_up: Duration, refuses: fn(&str, Only<'_>) -> bool) -> [Periodic; 2] {
    let mut fleet = Fleet::new(1, false, catch_up);
    let b = Task { name: "b".into(), ..fleet.settings.tasks[0].clone() };
    fleet.settings.tasks.push(b);
    let fate = Rc::new(Fate { rng: fleet.rng.clone(), killed: Notify::new(), is_hard: Rc::default(), deaths: Rc::default() });
    let objects = Rc::new(Refusing { route: Route { objects: fleet.objects.clone(), fate }, refuses });
    let host = Host { clock: Rc::new(Wall { begun: fleet.begun, off: Rc::default() }), ..fleet.machine.host() };
    let name = QueueName::parse("jobs").unwrap();
    let cron = Cron::of(&fleet.settings, fleet.queue.clone(), (name, "jobs"), objects, host).await.unwrap().unwrap();
    tokio::select! {
        () = cron.clone().run() => unreachable!("it goes on for ever"),
        () = fleet.until(minutes(180)) => {}
    }
    cron.status().try_into().unwrap()
}

/// Regression: each such time occupied a place forever, and after fifty of them no task was sent at all.
#[tokio::test(start_paused = true)]
async fn a_time_that_cannot_be_marked_as_sent_is_given_up() {
    let is_mark = |place: &str, only: Only<'_>| place.contains("/b/") && matches!(only, Only::IfMatch(_));
    let [a, b] = after_three_hours(minutes(5), is_mark).await;
    assert_eq!((a.sent, a.missed, a.trouble), (180, 0, None));
    assert_eq!((b.sent, b.missed), (180, 0));
    assert!(b.trouble.is_some_and(|why| why.contains("allow s3:PutObject")));
}

/// Regression: for a day, each such time occupied a place, and other tasks had none.
#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_be_sent_holds_up_no_other() {
    let is_claim = |place: &str, _: Only<'_>| place.contains("/b/2026-");
    let [a, b] = after_three_hours(minutes(24 * 60), is_claim).await;
    assert_eq!((a.sent, a.missed, a.trouble), (180, 0, None));
    assert_eq!((b.sent, b.missed), (0, 0));
    assert!(b.trouble.is_some_and(|why| why.contains("allow s3:PutObject")));
}
