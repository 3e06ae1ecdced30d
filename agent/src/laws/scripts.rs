//! What scripts and installers of a release find and leave behind: the variables of the serving release, a release
//! owned by root, and nothing of a removed application.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use crate::fake::machine::{Outcome, Ran};
use crate::host::{Attributes, End};
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::BootOutcome;
use crate::text::SecretText;

const ENV: &str = "/opt/elasticbeanstalk/deployment/env";
const OWN: &str = "/run/ingot/applications/shop/beanstalk.env";

fn shop(release: u32, level: &str, fields: &str) -> String {
    format!(
        "
version: 1
bundles: {{ app: {{ s3: s3://shop-releases/shop-{release}.zip, into: /opt/shop }} }}
applications:
  shop: {{ bundle: bundles.app, environment: {{ LEVEL: {level} }}, port: 5000, run: {{ web: serve, jobs: work }}, {fields} }}
"
    )
}

async fn serving(text: &str) -> Instance {
    let instance = Instance::of(&Example::of(text)).await;
    instance.boot_well().await;
    instance
}

/// Boots with another document, and returns the error.
async fn fails(instance: &mut Instance, text: &str) -> String {
    instance.machine.restart_process();
    instance.example = Example::of(text);
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed, "{}", booted.transcript.text());
    booted.error("applications.shop")
}

fn text(instance: &Instance, path: &str) -> String {
    instance.machine.file(path).map(|(text, _)| text).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_release_is_built_by_the_user_of_its_processes_and_is_roots_again() {
    let instance = serving(&shop(1, "a", "user: shop, build: [[/bin/build]]")).await;
    let ran = instance.machine.ran();
    let build = ran.iter().find(|ran| ran.line() == "/bin/build").unwrap();
    assert_eq!(build.user.as_deref(), Some("shop"));
    for name in ["XDG_CACHE_HOME", "npm_config_cache"] {
        assert!(build.environment.iter().any(|known| known == name), "{name}");
    }
    let host = instance.machine.host();
    let release = Path::new("/opt/shop/releases/shop-1");
    let stat = host.files.stat(release).await.unwrap().unwrap();
    assert_eq!((stat.attributes.uid, stat.attributes.mode), (0, 0o755));
    for gone in [".ingot/cache", ".ingot/home"] {
        assert!(host.files.stat(&release.join(gone)).await.unwrap().is_none(), "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_a_release_builds_it() {
    let text = shop(1, "a", "user: shop, build: [[/bin/build]]").replace("into: /opt/shop", "into: /opt/shop, owner: deploy");
    let instance = serving(&text).await;
    let ran = instance.machine.ran();
    assert_eq!(ran.iter().find(|ran| ran.line() == "/bin/build").unwrap().user.as_deref(), Some("deploy"));
    let host = instance.machine.host();
    let uid = host.users.user("deploy").await.unwrap().uid;
    let own = host.files.stat(Path::new("/opt/shop/releases/shop-1/.ingot")).await.unwrap().unwrap();
    assert_eq!(own.attributes.uid, uid);
}

/// Two applications of one Python release: the second needs gunicorn, and the first does not.
const TWO: &str = "
version: 1
bundles: { app: { s3: s3://shop-releases/shop-1.zip, into: /opt/shop } }
applications:
  shop: { bundle: bundles.app, port: 5000, build: [[/bin/build]], run: { web: serve } }
  works: { bundle: bundles.app, port: 6000, build: [[/bin/build]], proxy: { listen: 81 }, after: [applications.shop] }
";

/// An instance for two applications, and a function that returns the commands that built their release.
async fn two() -> (Instance, impl Fn(&Instance) -> Vec<String>) {
    let instance = Instance::of(&Example::of(TWO)).await;
    instance.machine.add_file("/usr/bin/python3", "");
    let program = Attributes { mode: 0o755, uid: 0, gid: 0 };
    instance.machine.host().files.set_attributes(Path::new("/usr/bin/python3"), program).await.unwrap();
    for (path, content) in [("requirements.txt", "flask\n"), ("application.py", "")] {
        instance.machine.add_to_releases(path, content);
    }
    instance.machine.leave_out_of_releases("Procfile");
    let is_of_the_build = |line: &String| line.starts_with(".venv/bin/pip ") || line == "/bin/build";
    (instance, move |instance| instance.machine.ran().iter().map(Ran::line).filter(is_of_the_build).collect())
}

const BUILT: [&str; 3] = [".venv/bin/pip install -r requirements.txt", "/bin/build", ".venv/bin/pip install gunicorn"];

/// The first application may already be serving from it.
#[tokio::test(start_paused = true)]
async fn what_another_application_needs_of_a_release_is_added_and_nothing_is_built_again() {
    let (instance, ran) = two().await;
    let (machine, seen) = (instance.machine.clone(), Rc::new(Cell::new(false)));
    let serves = Rc::clone(&seen);
    instance.machine.on_command("pip", move |invocation, _| {
        let adds = invocation.argv.last().is_some_and(|word| word.expose() == "gunicorn");
        serves.set(adds && machine.snapshot().to_string().contains("shop.web-1.service  active"));
        Outcome::Ends(End::Exited(0))
    });
    instance.boot_well().await;
    assert_eq!(ran(&instance), BUILT);
    assert!(seen.get(), "the first one served meanwhile");
    assert!(instance.boot_well().await.changed().is_empty());
}

/// The first application used to install what had failed for the second, as soon as one of its own variables changed,
/// and then failed as well.
#[tokio::test(start_paused = true)]
async fn what_another_application_needs_and_does_not_get_is_no_matter_of_the_first() {
    let (mut instance, ran) = two().await;
    instance.machine.on_command("pip", |invocation, _| {
        let adds = invocation.argv.last().is_some_and(|word| word.expose() == "gunicorn");
        Outcome::Ends(End::Exited(if adds { 4 } else { 0 }))
    });
    let outcomes = instance.boot().await.outcomes();
    assert!(outcomes.contains(&"failed applications.works".to_owned()), "{outcomes:?}");
    instance.example = Example::of(&TWO.replace("run: {", "environment: { A: b }, run: {"));
    let outcomes = instance.boot().await.outcomes();
    assert!(outcomes.contains(&"changed applications.shop".to_owned()), "{outcomes:?}");
    assert!(instance.machine.snapshot().to_string().contains("shop.web-2.service  active"));
    // It is tried again for the second application.
    assert_eq!(ran(&instance), [BUILT.as_slice(), &BUILT[2..]].concat());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_scripts_find_the_variables_of_what_serves() {
    let fields = "compatible_with: beanstalk, build: [[/bin/build]]";
    let mut instance = serving(&shop(1, "first", fields)).await;
    instance.machine.on_command("build", |_, _| Outcome::Ends(End::Exited(4)));
    fails(&mut instance, &shop(2, "second", fields)).await;
    for path in [OWN, "/run/ingot/applications/shop/beanstalk.json"] {
        let text = text(&instance, path);
        assert!(text.contains("first") && !text.contains("second"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_goes_is_logged_until_it_is_gone() {
    let fields = "compatible_with: beanstalk";
    let mut instance = serving(&shop(1, "a", fields)).await;
    instance.machine.restart_process();
    instance.example = Example::of(&shop(2, "a", fields).replace(", jobs: work", ""));
    let booted = instance.boot_well().await;
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == "applications.shop").unwrap();
    let at = |line: &str| step.changes.iter().position(|change| change.starts_with(line)).unwrap_or_else(|| panic!("{line}: {step:?}"));
    assert!(at("stop ingot-log-shop.jobs.service") > at("drain and stop shop.web-1.service"), "{:?}", step.changes);
}

/// A hook replaces the file by a new one, as `sed -i` does.
#[tokio::test(start_paused = true)]
async fn a_link_that_a_script_replaces_is_put_back_and_fails_the_release() {
    let mut instance = serving(&shop(1, "a", "compatible_with: beanstalk")).await;
    let machine = instance.machine.clone();
    instance.machine.on_command("sh", move |invocation, _| {
        if invocation.argv.iter().any(|word| word.expose() == "migrate") {
            machine.add_link(ENV, "/srv/other");
        }
        Outcome::Ends(End::Exited(0))
    });
    let error = fails(&mut instance, &shop(2, "a", "compatible_with: beanstalk")).await;
    assert!(error.contains("01_migrate") && error.contains("shop-1 keeps serving"), "{error}");
    let link = instance.machine.host().directories.link(Path::new(ENV)).await.unwrap();
    assert_eq!(link.as_deref(), Some(Path::new(OWN)));
}

#[tokio::test(start_paused = true)]
async fn of_an_application_that_is_gone_nothing_is_left() {
    let mut instance = serving(&shop(1, "a", "compatible_with: beanstalk")).await;
    instance.machine.restart_process();
    instance.example = Example::of(&shop(1, "a", "user: other").replace("  shop: {", "  store: {"));
    instance.boot_well().await;
    let left = |path: &Path| {
        let text = path.to_string_lossy();
        text.starts_with("/run/ingot/applications/shop")
            || text.starts_with("/run/ingot/proxy/slots/shop-")
            || text.contains("elasticbeanstalk")
    };
    let left: Vec<_> = instance.machine.files().into_iter().filter(|path| left(path)).collect();
    assert!(left.is_empty(), "{left:?}");
    for link in [ENV, "/var/app/current", "/var/app/staging"] {
        assert_eq!(instance.machine.host().directories.link(Path::new(link)).await.unwrap(), None, "{link}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_tell_whether_an_image_is_here_is_not_asked_to_pull_it() {
    let text = "\nversion: 1\napplications: { shop: { image: 'registry.example/shop:1', port: 5000 } }\n";
    let instance = serving(text).await;
    let pulls = |instance: &Instance| instance.machine.ran().iter().filter(|ran| ran.line().contains(" pull ")).count();
    assert_eq!(pulls(&instance), 1);
    instance.machine.reboot();
    instance.machine.on_command("podman", |invocation, on_line| {
        match invocation.argv.iter().any(|word| *word == SecretText::from("inspect")) {
            true => {
                on_line("Error: database is locked");
                Outcome::Ends(End::Exited(125))
            }
            false => Outcome::Ends(End::Exited(0)),
        }
    });
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed, "{}", booted.transcript.text());
    let error = booted.error("applications.shop");
    assert!(error.contains("podman cannot inspect") && error.contains("database is locked"), "{error}");
    assert_eq!(pulls(&instance), 1);
}
