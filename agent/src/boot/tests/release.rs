//! `--release`: another release is installed, and kept once the boot has succeeded.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::aws::autoscaling::GROUP_TAG;
use crate::aws::cloudformation::SignalStatus;
use crate::boot::audience::Ending;
use crate::boot::in_hand::Asked;
use crate::boot::request::Request;
use crate::boot::tests::site::{Site, Slow, metadata, request};
use crate::boot::wanted::Wanted;
use crate::digest::Sha256;
use crate::fake::aws::FakeMetadata;
use crate::host::End;
use crate::report::{BootOutcome, Outcome};

const KEPT: &str = "/var/lib/ingot/instances/i-0123456789abcdef0/release.yaml";

/// The content of a release's bundle.
fn content(name: &str) -> String {
    format!("content of {name}")
}

fn digest(name: &str) -> String {
    Sha256::of(content(name).as_bytes()).to_string()
}

/// The document of an instance that was launched with v1.
fn document() -> String {
    format!(
        "#ingot
version: 1
values: {{ release: v1, release_sha256: {} }}
bundles: {{ app: {{ s3: 's3://shop/{{{{values.release}}}}.tar', sha256: '{{{{values.release_sha256}}}}', into: /opt/app }} }}
files: {{ /etc/app/release: {{ content: '{{{{values.release}}}}' }} }}
commands: {{ prove: {{ run: [/bin/prove], once: always, after: [bundles.app] }} }}
",
        digest("v1")
    )
}

/// An instance that was launched with v1, and a bucket with three releases.
fn site() -> Site {
    site_with(&document())
}

fn site_with(document: &str) -> Site {
    stocked(Site::with(document))
}

fn stocked(site: Site) -> Site {
    ["v1", "v2", "v3"].iter().for_each(|name| site.objects.put(&format!("s3://shop/{name}.tar"), &content(name)));
    site.machine.stop_inventing_archives();
    site
}

fn wanted(name: &str) -> Wanted {
    if name == "launched" { Wanted::Launched } else { format!("{name}@sha256:{}", digest(name)).parse().unwrap() }
}

/// A request for a release, made `at` seconds after the kernel started.
fn asked(name: &str, at: u64) -> Request {
    Request { release: Some(Asked { wanted: wanted(name), at: Duration::from_secs(at) }), ..request() }
}

/// The release on the machine: the content of `current`, the content of the rendered file, and
/// the release that the next boot has.
fn found(site: &Site) -> (String, String, String) {
    let file = |path: &str| site.machine.file(path).map_or_else(|| "none".to_owned(), |(text, _)| text);
    let kept = match site.machine.file(KEPT) {
        None => "launched".to_owned(),
        Some((text, _)) => Wanted::of_layer(text.as_bytes()).expect("a whole layer").to_string(),
    };
    (file("/opt/app/current/content"), file("/etc/app/release"), kept)
}

fn whole(name: &str, kept: &str) -> (String, String, String) {
    (content(name), name.to_owned(), if kept == "launched" { kept.to_owned() } else { wanted(kept).to_string() })
}

#[tokio::test(start_paused = true)]
async fn a_release_stays_until_another_or_the_one_of_the_launch_is_asked_for() {
    let site = site();
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!((found(&site), site.report().release), (whole("v1", "launched"), None));
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Done);
    let v2 = wanted("v2").to_string();
    assert_eq!(found(&site), whole("v2", "v2"));
    assert_eq!(site.report().release.map(|release| (release.wanted, release.in_force)), Some((v2.clone(), v2.clone())));
    site.machine.reboot();
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!((found(&site), site.report().release.unwrap().to_string()), (whole("v2", "v2"), v2));
    assert_eq!(site.boot_as(asked("launched", 2)).await, Ending::Done);
    assert_eq!(found(&site), whole("v1", "launched"));
    assert_eq!(site.report().release.unwrap().to_string(), "launched");
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!((found(&site), site.report().release), (whole("v1", "launched"), None));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_not_there_or_another_changes_nothing() {
    for name in ["v9", "v3"] {
        let site = site();
        site.boot().await;
        site.boot_as(asked("v2", 1)).await;
        site.objects.put("s3://shop/v3.tar", "something else");
        let before = site.machine.snapshot().without("/run").to_string();
        assert_eq!(site.boot_as(asked(name, 2)).await, Ending::Failed);
        assert_eq!(site.machine.snapshot().without("/run").to_string(), before, "{name}");
        assert_eq!(site.outcomes(), ["failed bundles.app", "skipped commands.prove", "skipped files./etc/app/release"]);
        let shown = site.report().release.unwrap().to_string();
        assert_eq!(shown, format!("{} is in force, {} was requested", wanted("v2"), wanted(name)));
        site.boot().await;
        assert_eq!(found(&site), whole("v2", "v2"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_later_is_not_kept() {
    let site = site();
    site.boot().await;
    site.machine.on_command("prove", |_, _| crate::fake::machine::Outcome::Ends(End::Exited(1)));
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Failed);
    assert_eq!(found(&site).2, "launched");
    site.machine.on_command("prove", |_, _| crate::fake::machine::Outcome::Ends(End::Exited(0)));
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!(found(&site), whole("v1", "launched"));
}

#[tokio::test(start_paused = true)]
async fn killed_in_any_change_it_ends_on_one_whole_release() {
    let (mut ends, mut count) = ([0; 2], 0);
    loop {
        let site = site();
        site.boot().await;
        site.machine.die_after(count);
        let lived = tokio::select! {
            biased;
            () = site.machine.died() => false,
            ending = site.boot_as(asked("v2", 1)) => { assert_eq!(ending, Ending::Done); true }
        };
        if lived {
            break;
        }
        if count % 2 == 0 {
            site.machine.reboot()
        } else {
            site.machine.restart_process()
        }
        assert_eq!(site.boot().await, Ending::Done);
        let end = if found(&site).2 == "launched" { "v1" } else { "v2" };
        assert_eq!(found(&site), whole(end, if end == "v1" { "launched" } else { "v2" }), "killed in change {count}");
        ends[usize::from(end == "v2")] += 1;
        assert_eq!(site.boot_as(asked("v2", 2)).await, Ending::Done);
        assert_eq!(found(&site), whole("v2", "v2"), "killed in change {count}, and asked again");
        let all = site.machine.snapshot().to_string();
        assert!(!all.contains(".ingot-staged."), "killed in change {count}: something staged is left:\n{all}");
        count += 1;
    }
    assert!(ends[0] > 5 && ends[1] > 0, "{ends:?}");
}

/// Boots while another process holds the lock and releases it after a while.
async fn waiting(site: &Site, request: Request) -> Ending {
    let lock = site.machine.lock_by(7).unwrap();
    let release = async {
        site.asked_after(1).await;
        drop(lock);
    };
    futures_util::join!(site.boot_as(request), release).0
}

#[tokio::test(start_paused = true)]
async fn of_several_requests_the_last_one_wins() {
    let site = site();
    site.boot().await;
    // v3 was requested after v2, but obtained the lock first.
    assert_eq!(site.boot_as(asked("v3", 20)).await, Ending::Done);
    let reported = site.reported();
    let ending = waiting(&site, asked("v2", 10)).await;
    let why = format!("{} was requested after {}, and is in force", wanted("v3"), wanted("v2"));
    assert!(matches!(&ending, Ending::Superseded(said) if said.starts_with(&why)), "{ending:?}");
    assert_eq!((found(&site), site.reported()), (whole("v3", "v3"), reported));
    assert_eq!(site.on_disk().unwrap().outcome, BootOutcome::Done);
    assert_eq!(waiting(&site, asked("v2", 21)).await, Ending::Done);
    assert_eq!(found(&site), whole("v2", "v2"));
    // Requests from before a reboot no longer count.
    site.machine.reboot();
    assert_eq!(waiting(&site, asked("v3", 1)).await, Ending::Done);
}

/// Regression: a request that changed nothing made a waiting one be dropped, so both failed and nothing was deployed.
#[tokio::test(start_paused = true)]
async fn one_that_changed_nothing_overtakes_nobody() {
    let site = site();
    site.boot().await;
    assert_eq!(site.boot_as(asked("v9", 20)).await, Ending::Failed);
    assert_eq!(waiting(&site, asked("v2", 10)).await, Ending::Done);
    assert_eq!(found(&site), whole("v2", "v2"));
    // A request that has changed the instance counts as the last one, even if it failed.
    site.machine.on_command("prove", |_, _| crate::fake::machine::Outcome::Ends(End::Exited(1)));
    assert_eq!(site.boot_as(asked("v3", 30)).await, Ending::Failed);
    let ending = waiting(&site, asked("launched", 25)).await;
    let why = format!("{} was requested after launched, and failed after it had changed this instance", wanted("v3"));
    assert!(matches!(&ending, Ending::Superseded(said) if said.starts_with(&why)), "{ending:?}");
}

/// Regression: the release was kept before any of its services had been started, and the
/// process waited for the end of the pool.
#[tokio::test(start_paused = true)]
async fn in_a_warm_pool_nothing_is_kept_and_the_process_ends() {
    let document = document().replace("once: always,", "once: always, phase: serve,");
    let tags = BTreeMap::from([(GROUP_TAG.to_owned(), "web".to_owned())]);
    let answers = FakeMetadata { user_data: Some(document.into()), tags: Some(tags), ..metadata() };
    let slow = Rc::new(Slow::new(answers, Some(Duration::ZERO)));
    *slow.states.borrow_mut() = vec![Some("Warmed:Running")];
    let site = stocked(Site::of(slow.clone()));
    let ending = tokio::time::timeout(Duration::from_secs(60), site.boot_as(asked("v2", 1))).await;
    assert_eq!((ending.ok(), site.reported()), (Some(Ending::Done), 1));
    assert_eq!(found(&site).2, "launched");
    let shown = site.report().release.unwrap().to_string();
    let expected = format!("launched is in force, {} was requested; it is not kept, because this instance is in a warm pool", wanted("v2"));
    assert!(shown.starts_with(&expected), "{shown}");
    // Such a request does not supersede others either: which release serves is decided later.
    *slow.states.borrow_mut() = vec![Some("InService")];
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!(found(&site), whole("v1", "launched"));
    assert_eq!(site.boot_as(asked("v2", 0)).await, Ending::Done);
    assert_eq!(found(&site), whole("v2", "v2"));
}

const SIGNAL: &str = "signals: { stack: { cloudformation: { stack: shop, resource: Web } } }\n";

/// Regression: it was kept only after the signals of success had been sent.
#[tokio::test(start_paused = true)]
async fn a_release_is_kept_before_anybody_is_told() {
    let site = site_with(&format!("{}{SIGNAL}", document()));
    site.machine.add_directory(&KEPT.replace("release.yaml", ".ingot-staged.release.yaml"));
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Failed);
    assert!(site.error().contains("is not kept; a reboot returns to the previous release"), "{}", site.error());
    assert_eq!(site.signals(), [SignalStatus::Failure]);
    let kept = site_with(&format!("{}{SIGNAL}", document()));
    assert_eq!(kept.boot_as(asked("v2", 1)).await, Ending::Done);
    assert_eq!((kept.signals(), found(&kept)), (vec![SignalStatus::Success], whole("v2", "v2")));
}

/// Regression: a signal of failure could end an instance in service because of a mistyped release.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_request_alone_is_told_to_nobody_else() {
    let site = site_with(&format!("#ingot\nversion: 1\nfiles: {{ /etc/a: {{ content: a }} }}\n{SIGNAL}"));
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Document);
    assert!(site.signals().is_empty() && site.machine.file("/etc/a").is_none());
}

/// Regression: if only some instances of an application have a bundle, requesting a release on
/// all of them was reported as a mistake of the document.
#[tokio::test(start_paused = true)]
async fn a_bundle_that_is_not_due_here_is_no_mistake() {
    let site = site_with(&document().replace("into: /opt/app", "when: \"{{eq instance.region 'nowhere'}}\", into: /opt/app"));
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Done);
    assert_eq!(site.outcomes(), ["changed commands.prove", "changed files./etc/app/release"]);
    assert_eq!(found(&site), ("none".into(), "v2".into(), wanted("v2").to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_is_optional_and_failed_leaves_the_release_incomplete() {
    let document = document().replace("into: /opt/app", "required: false, into: /opt/app");
    let site = site_with(&document[..document.find("files:").unwrap()]);
    assert_eq!(site.boot_as(asked("v9", 1)).await, Ending::Failed);
    assert!(site.error().contains("bundles.app failed and is `required: false`"), "{}", site.error());
    assert_eq!(found(&site).2, "launched");
}

/// Regression: a bundle had the time limit of the bundle that is staged with it.
#[tokio::test(start_paused = true)]
async fn each_bundle_of_a_release_has_its_own_time() {
    let with_assets = "bundles: { assets: { s3: 's3://shop/assets-{{values.release}}.tar', into: /opt/assets, timeout: 1m }, ";
    let site = site_with(&document().replace("bundles: { ", with_assets));
    site.objects.be_silent_about("s3://shop/assets-v2.tar");
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Unreachable);
    let report = site.report();
    let step = |address: &str| report.steps.iter().find(|step| step.address.as_str() == address).unwrap();
    let (app, assets) = (step("bundles.app"), step("bundles.assets"));
    assert!(assets.finished_ms.unwrap() - assets.started_ms.unwrap() <= 61_000.0, "{assets:?}");
    assert!(assets.error.as_ref().unwrap().message.starts_with("it did not finish within 60s"), "{assets:?}");
    assert_eq!(app.outcome, Outcome::Skipped);
    assert!(site.machine.file("/opt/app/current/content").is_none());
    // The first bundle to fail ends the staging, whatever the time limit of the other one.
    let site = site_with(&document().replace("bundles: { ", with_assets));
    ["v2", "assets-v2"].iter().for_each(|name| site.objects.be_silent_about(&format!("s3://shop/{name}.tar")));
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Unreachable);
    assert!(site.report().elapsed_ms < 63_000.0, "{}", site.report().elapsed_ms);
    assert_eq!(site.outcomes()[..2], ["skipped bundles.app", "failed bundles.assets"]);
}

/// Regression: such a request had nothing to do and was forgotten, and an earlier one replaced it.
#[tokio::test(start_paused = true)]
async fn a_request_that_found_everything_in_place_was_the_last_one_all_the_same() {
    let site = site();
    assert_eq!(site.boot_in_turn(asked("v2", 5), asked("v2", 7)).await, (Ending::Done, Ending::AlreadyDone));
    assert!(matches!(waiting(&site, asked("v3", 6)).await, Ending::Superseded(_)));
    assert_eq!(found(&site), whole("v2", "v2"));
}

#[tokio::test(start_paused = true)]
async fn without_a_bundle_here_a_request_that_changed_nothing_overtakes_nobody_either() {
    let document = document().replace("into: /opt/app", "when: \"{{eq instance.region 'nowhere'}}\", into: /opt/app");
    let document = &document[..document.find("commands:").unwrap()];
    let gone = document.replace("content: '", "mode: '0600', content: '{{secrets.gone}}");
    // Evidence of a failure is sent in this case, too, and must not count as a change.
    let signals = "signals: { e: { s3: 's3://shop-evidence/x/' } }";
    let site = site_with(&format!("{gone}secrets: {{ gone: {{ parameter: /gone }} }}\n{signals}\n"));
    for (name, at) in [("v3", 20), ("v2", 10)] {
        assert_eq!(waiting(&site, asked(name, at)).await, Ending::Failed);
    }
}

/// Regression: each release was tried, failed late, and pushed out the one that a reboot returns to.
#[tokio::test(start_paused = true)]
async fn what_a_reboot_goes_back_to_stays_however_many_are_tried() {
    let site = site_with(&document().replace("into: /opt/app", "keep: 1, into: /opt/app"));
    site.boot().await;
    site.machine.on_command("prove", |_, _| crate::fake::machine::Outcome::Ends(End::Exited(1)));
    for name in ["v2", "v3"] {
        assert_eq!(site.boot_as(asked(name, 1)).await, Ending::Failed);
    }
    site.machine.on_command("prove", |_, _| crate::fake::machine::Outcome::Ends(End::Exited(0)));
    let asked_for = site.objects.count();
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!((found(&site), site.objects.count()), (whole("v1", "launched"), asked_for));
}

#[tokio::test(start_paused = true)]
async fn the_same_document_just_now_is_not_that_of_another_release() {
    let site = site();
    assert_eq!(site.boot_in_turn(request(), asked("v2", 1)).await, (Ending::Done, Ending::Done));
    assert_eq!(found(&site), whole("v2", "v2"));
    assert_eq!(site.boot_in_turn(request(), asked("v2", 2)).await, (Ending::Done, Ending::AlreadyDone));
    assert_eq!(site.boot_in_turn(asked("launched", 3), asked("launched", 4)).await, (Ending::Done, Ending::AlreadyDone));
    assert_eq!(found(&site), whole("v1", "launched"));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_does_not_know_of_releases_is_a_mistake() {
    let digest = digest("v2");
    for (bundle, missing) in [("s3://shop/v1.tar", "values.release"), ("s3://shop/{{values.release}}.tar", "values.release_sha256")] {
        let site = Site::with(&format!("#ingot\nversion: 1\nbundles: {{ app: {{ s3: '{bundle}', into: /opt/app }} }}\n"));
        let release = Some(Asked { wanted: format!("v2@sha256:{digest}").parse().unwrap(), at: Duration::ZERO });
        assert_eq!(site.boot_as(Request { release, ..request() }).await, Ending::Document);
        let causes = site.report().error.unwrap().causes;
        assert!(causes[0].starts_with(&format!("no step refers to {missing}: `--release v2@sha256:")), "{causes:?}");
        assert!(site.machine.file(KEPT).is_none() && site.machine.file("/opt/app/current/content").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_and_is_not_ours_ends_the_boot_unless_another_is_asked_for() {
    let site = site();
    site.machine.add_file(KEPT, "version: 1\nvalues: { release: v2");
    assert_eq!(site.boot().await, Ending::Document);
    assert!(site.report().error.unwrap().causes[0].contains("release.yaml"));
    assert_eq!(site.boot_as(asked("v2", 1)).await, Ending::Done);
    assert_eq!(found(&site), whole("v2", "v2"));
}
