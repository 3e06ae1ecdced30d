//! The two phases of an instance in a warm pool.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::aws::autoscaling::GROUP_TAG;
use crate::boot::audience::Ending;
use crate::boot::tests::site::{Site, Slow, metadata, request};
use crate::fake::aws::FakeMetadata;
use crate::fake::machine::Outcome;
use crate::host::End;
use crate::report::BootOutcome;
use crate::step::Phase;

const DOCUMENT: &str = "#ingot
version: 1
files: { /etc/early: { content: x, phase: warm }, /etc/late: { content: x, phase: serve } }
";

const WITH_OPTIONAL: &str = "#ingot
version: 1
files: { /etc/late: { content: x, phase: serve } }
commands: { long: { run: [/bin/long], required: false, timeout: 2h } }
";

fn site(states: &[Option<&'static str>]) -> (Site, Rc<Slow>) {
    site_with(DOCUMENT, states)
}

fn site_with(document: &str, states: &[Option<&'static str>]) -> (Site, Rc<Slow>) {
    let tags = BTreeMap::from([(GROUP_TAG.to_owned(), "web".to_owned())]);
    let answers = FakeMetadata { user_data: Some(document.into()), tags: Some(tags), ..metadata() };
    let slow = Rc::new(Slow::new(answers, Some(Duration::ZERO)));
    *slow.states.borrow_mut() = states.to_vec();
    (Site::of(slow.clone()), slow)
}

#[tokio::test(start_paused = true)]
async fn a_running_process_serves_when_the_instance_goes_into_service() {
    let (site, _) = site(&[Some("Warmed:Running"), Some("Warmed:Running"), Some("InService")]);
    let meanwhile = async {
        site.asked_after(8).await;
        assert!(site.machine.file("/etc/early").is_some() && site.machine.file("/etc/late").is_none());
        assert_eq!(site.on_disk().unwrap().phase, Some(Phase::Warm));
    };
    let (ending, ()) = futures_util::join!(site.boot(), meanwhile);
    assert_eq!(ending, Ending::Done);
    assert_eq!((site.reported(), site.report().phase), (2, Some(Phase::Serve)));
    assert_eq!(site.outcomes(), ["unchanged files./etc/early", "changed files./etc/late"]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_ended_in_the_pool_has_succeeded() {
    let (site, _) = site(&[Some("Warmed:Stopped")]);
    assert_eq!(site.boot_until(request(), site.asked_after(60)).await, Ending::Done);
    assert_eq!((site.reported(), site.outcomes()), (1, vec!["changed files./etc/early".to_owned()]));
}

/// Regression: after a signal ended the last, optional steps, the boot waited for the signal
/// again, and the process panicked.
#[tokio::test(start_paused = true)]
async fn a_process_that_is_ended_while_optional_steps_run_in_the_pool_is_degraded() {
    let (site, _) = site_with(WITH_OPTIONAL, &[Some("Warmed:Stopped")]);
    site.machine.on_command("/bin/long", |_, _| Outcome::Takes(Duration::from_secs(3_600), End::Exited(0)));
    assert_eq!(site.boot_until(request(), site.asked_after(60)).await, Ending::Done);
    assert_eq!((site.reported(), site.report().outcome), (1, BootOutcome::Degraded));
}

#[tokio::test(start_paused = true)]
async fn a_target_state_that_is_not_set_yet_is_waited_for() {
    let (site, slow) = site(&[None, None, None, Some("Warmed:Stopped")]);
    site.boot_until(request(), site.asked_after(60)).await;
    assert_eq!(site.report().phase, Some(Phase::Warm));
    assert!(slow.asked.get() >= 4 && site.report().elapsed_ms >= 1_500.0);
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_a_target_state_serves() {
    let (site, slow) = site(&[None]);
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!((site.report().phase, slow.asked.get()), (Some(Phase::Serve), 11));
}
