//! A periodic message whose due time is claimed while the application is replaced.

use bytes::Bytes;

use super::*;
use crate::aws::AwsError;
use crate::aws::s3::{Found, Object, Only, Source, Upload, Written};
use crate::aws::sqs::{Queue, Sent};
use crate::host::Clock;
use crate::net::holds::{Holds as _, NetHolds};
use crate::steps::worker::settings::Claims;

/// An S3 that takes this long for each look.
struct Slow(FakeObjects, Rc<dyn Clock>, Duration);

#[async_trait(?Send)]
impl Objects for Slow {
    async fn open(&self, source: &Source, checked: bool) -> Result<Box<dyn Object>, AwsError> {
        self.0.open(source, checked).await
    }

    async fn look(&self, source: &Source) -> Result<Option<Found>, AwsError> {
        self.1.sleep(self.2).await;
        self.0.look(source).await
    }

    async fn write(&self, source: &Source, body: Bytes, only: Only<'_>, upload: Option<&Upload>) -> Result<Written, AwsError> {
        self.0.write(source, body, only, upload).await
    }
}

impl Scene {
    async fn send_periodic(&self) {
        let said = [
            ("beanstalk.sqsd.path", "/a".to_owned()),
            ("beanstalk.sqsd.task_name", "a".to_owned()),
            ("beanstalk.sqsd.scheduled_time", "2026-11-30 02:30:00 UTC".to_owned()),
            ("beanstalk.sqsd.mark", "x".to_owned()),
        ];
        let sent = Sent { body: "x", said: said.into(), fifo: None };
        Queue::send(&*self.queue, &sent).await.unwrap();
    }
}

/// Regression: such a message occupied the only place for two of every three minutes.
#[tokio::test(start_paused = true)]
async fn while_s3_is_away_other_messages_are_handled() {
    let mut scene = Scene::new(false, soon);
    scene.settings.concurrency = 1;
    scene.objects = Rc::new(Slow(FakeObjects::default(), scene.machine.host().clock, at(3600)));
    scene.settings.claims = Some(Claims { below: "s3://shop/claims/cron/shop/prod/".into(), holder: "i-1".into() });
    scene.send_periodic().await;
    let clock = scene.machine.host().clock;
    let others = async {
        clock.sleep(at(1)).await;
        scene.send(3);
        clock.sleep(at(20)).await;
        assert_eq!((scene.application.ended.borrow().len(), scene.queue.left().len()), (3, 1));
        let told = scene.status().await.unwrap().last_error.unwrap().what;
        assert!(told.contains("its claim failed: S3 has not answered"), "{told}");
        // It is received again, and each time uses up one of its deliveries.
        clock.sleep(at(600)).await;
        assert!((3..6).contains(&scene.queue.left()[0].1), "{:?}", scene.queue.left());
    };
    tokio::join!(scene.work_for(at(640)), others);
}

/// Regression: a switch waited for the message, and the release that was being stopped got it.
#[tokio::test(start_paused = true)]
async fn it_is_nowhere_before_its_time_is_claimed_and_nobody_gets_it_while_the_worker_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("hold");
    let mut scene = Scene { hold: Some(socket.clone()), ..Scene::new(false, soon) };
    let clock = scene.machine.host().clock;
    scene.objects = Rc::new(Slow(FakeObjects::default(), clock.clone(), at(12)));
    scene.settings.claims = Some(Claims { below: "s3://shop/claims/cron/shop/prod/".into(), holder: "i-1".into() });
    scene.send_periodic().await;
    let switch = async {
        clock.sleep(at(5)).await;
        let mut hold = NetHolds.hold(&socket, 5000).await;
        hold.finished().await;
        assert!(clock.elapsed() < at(6), "{:?}", clock.elapsed());
        clock.sleep(at(35)).await;
        assert_eq!((scene.application.began.borrow().len(), scene.queue.visible().len()), (0, 1), "it goes back at once");
        drop(hold);
    };
    tokio::join!(scene.work_for(at(100)), switch);
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1], Vec::new()));
}
