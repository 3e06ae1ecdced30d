//! At every moment, the proxy forwards to the releases that really serve. A failed attempt leaves nothing behind, and
//! an application that is no longer in any document is removed.

mod former;

use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeUnit, Outcome};
use crate::host::sockets::{Holder, Listener};
use crate::host::state::Record;
use crate::host::{End, identity};
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::BootOutcome;
use crate::steps::application::bring_back;
use crate::text::SecretText;

const SITE: &str = "/run/ingot/proxy/sites/shop.conf";

/// A document with one application, in release `version`.
fn document(name: &str, version: u32, fields: &str) -> String {
    let run = "run: { web: bin/web, jobs: bin/jobs }";
    format!(
        "
version: 1
bundles: {{ app: {{ s3: s3://shop/app-{version}.tar, into: /opt/app }} }}
applications: {{ {name}: {{ bundle: bundles.app, {run}, user: shop, {fields} }} }}
"
    )
}

fn shop(version: u32, fields: &str) -> String {
    document("shop", version, fields)
}

fn instance(text: &str) -> Instance {
    Instance::with_aws(&Example::of(text), FakeSecretsManager::default(), FakeParameterStore::default())
}

fn turn_to(instance: &mut Instance, text: &str) {
    instance.machine.restart_process();
    instance.example = Example::of(text);
}

/// Makes the next release's jobs fail.
fn fail_jobs(instance: &Instance, name: &str, number: u32) {
    instance.machine.add_unit(FakeUnit::new(&format!("{name}.jobs-{number}.service")).fails(1));
}

fn site(instance: &Instance, name: &str) -> Option<String> {
    instance.machine.file(&format!("/run/ingot/proxy/sites/{name}.conf")).map(|(text, _)| text)
}

/// Where the site listens, and where it forwards requests to.
fn table(instance: &Instance) -> Vec<String> {
    let site = site(instance, "shop").unwrap_or_default();
    let words = ["listen 8", "listen 127", "listen 4", "proxy_pass http://127", "fastcgi_pass"];
    site.lines().map(str::trim).filter(|line| words.iter().any(|word| line.starts_with(word))).map(str::to_owned).collect()
}

/// Where nginx listens.
async fn ports(instance: &Instance) -> Vec<String> {
    let listeners = instance.machine.host().sockets.listeners().await.unwrap();
    listeners.iter().filter(|listener| listener.is_of("ingot-proxy.service")).map(|listener| listener.at.to_string()).collect()
}

/// All files and units of the proxy.
async fn proxy(instance: &Instance) -> (Vec<String>, Vec<String>) {
    let files = instance
        .machine
        .files()
        .into_iter()
        .map(|path| path.display().to_string())
        .filter(|path| path.contains("/proxy/") && !path.ends_with("nginx.conf"));
    let files = files.map(|path| format!("{path}: {}", instance.machine.file(&path).unwrap().0)).collect();
    (files, ports(instance).await)
}

async fn changes_nothing(instance: &mut Instance) {
    instance.machine.restart_process();
    let again = instance.boot_well().await;
    assert!(again.changed().is_empty(), "{}", again.transcript.text());
}

#[tokio::test(start_paused = true)]
async fn each_slot_is_passed_to_as_its_own_release_listens() {
    let mut instance = instance(&shop(1, "port: 5000"));
    instance.boot_well().await;
    turn_to(&mut instance, &shop(2, "port: 6000"));
    instance.boot_well().await;
    let expected = [
        "listen 80 backlog=4096;",
        "listen 127.0.0.1:6000 backlog=4096;",
        "proxy_pass http://127.0.0.1:15000;",
        "proxy_pass http://127.0.0.1:26000;",
    ];
    assert_eq!(table(&instance), expected, "what was before is passed to as it listened");
    changes_nothing(&mut instance).await;
    turn_to(&mut instance, &shop(3, "port: 6000"));
    instance.boot_well().await;
    assert_eq!(table(&instance)[2..], ["proxy_pass http://127.0.0.1:16000;", "proxy_pass http://127.0.0.1:26000;"]);
    let reloads = instance.machine.starts_and_reloads("ingot-proxy.service").1;
    turn_to(&mut instance, &shop(4, "port: 6000"));
    instance.boot_well().await;
    assert_eq!(instance.machine.starts_and_reloads("ingot-proxy.service").1, reloads, "a release alone is no reload");
}

#[tokio::test(start_paused = true)]
async fn a_failure_puts_the_proxy_back_as_it_was() {
    let tls = "tls: { certificate: \"{{secrets.site.certificate}}\", key: \"{{secrets.site.key}}\" }";
    let fields = [
        ("port: 5000", "port: 6000"),
        ("port: 5000", "port: 5000, proxy: { listen: [80, 81], body: 1m }"),
        ("overlap: false", "overlap: true"),
        ("overlap: true", "overlap: false"),
        ("port: 5000", "port: 6000, proxy: none"),
        ("overlap: false, proxy: none", "port: 5000"),
        ("port: 5000", "port: 5000, proxy: { TLS }"),
    ];
    for (before, after) in fields {
        let mut instance = instance(&shop(1, before));
        instance.secrets = std::rc::Rc::new(
            FakeSecretsManager::default()
                .with("site", "{\"certificate\": \"-----BEGIN CERTIFICATE-----\", \"key\": \"-----BEGIN PRIVATE KEY-----\"}"),
        );
        instance.boot_well().await;
        let was = proxy(&instance).await;
        let secrets = if after.contains("TLS") { "\nsecrets: { site: { secrets_manager: site } }" } else { "" };
        turn_to(&mut instance, &(shop(2, &after.replace("TLS", tls)) + secrets));
        fail_jobs(&instance, "shop", 2);
        let booted = instance.boot().await;
        assert!(booted.error("applications.shop").contains("app-1 keeps serving"), "{}", booted.transcript.text());
        assert_eq!(proxy(&instance).await.1, was.1, "{after}: nginx has other ports");
        let without_tls = |files: Vec<String>| files.into_iter().filter(|file| !file.contains("/tls/")).collect::<Vec<_>>();
        assert_eq!(without_tls(proxy(&instance).await.0), without_tls(was.0), "{after}");
        turn_to(&mut instance, &shop(1, before));
        instance.boot_well().await;
        changes_nothing(&mut instance).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_nginx_rejects_is_never_in_its_place() {
    let mut instance = instance(&shop(1, "port: 5000"));
    instance.boot_well().await;
    let was = proxy(&instance).await;
    instance.machine.on_command("systemd-run", |invocation, on_line| {
        if invocation.argv.iter().map(SecretText::expose).any(|word| word == "-t") {
            on_line("nginx: [emerg] invalid number of arguments in \"listen\" directive in /run/ingot/proxy/.tested/sites/shop.conf:2");
            return Outcome::Ends(End::Exited(1));
        }
        Outcome::Ends(End::Exited(0))
    });
    turn_to(&mut instance, &shop(1, "port: 5000, proxy: { listen: 82 }"));
    for _ in 0..2 {
        let booted = instance.boot().await;
        insta::allow_duplicates! { insta::assert_snapshot!(booted.error("applications.shop"), @r#"
        nginx rejects the configuration of the proxy; app-1 keeps serving: last lines of its output:
          | nginx: [emerg] invalid number of arguments in "listen" directive in /run/ingot/proxy/sites/shop.conf:2
          hint: check `proxy.listen` and `port`
        "#) };
        assert_eq!(proxy(&instance).await, was);
        instance.machine.restart_process();
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_counts_once_nginx_listens_by_it() {
    let mut instance = instance(&shop(1, "port: 5000"));
    instance.machine.add_unit(FakeUnit::new("ingot-proxy.service").journal(&["bind() to 0.0.0.0:82 failed (98: Address already in use)"]));
    instance.boot_well().await;
    let was = proxy(&instance).await;
    instance.machine.is_deaf(true);
    turn_to(&mut instance, &shop(1, "port: 5000, proxy: { listen: 82 }"));
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("applications.shop"), @r"
    the proxy does not serve: it does not listen on 0.0.0.0:82, 10s after the request; app-1 keeps serving: last lines of its output:
      | bind() to 0.0.0.0:82 failed (98: Address already in use)
      hint: run `journalctl -b -u ingot-proxy.service`
    ");
    assert_eq!(proxy(&instance).await, was, "the configuration of before is there again");
    instance.machine.is_deaf(false);
    instance.machine.restart_process();
    instance.boot_well().await;
    assert!(ports(&instance).await.contains(&"0.0.0.0:82".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_applications_own_port_is_looked_at_too() {
    let instance = instance(&shop(1, "port: 5000"));
    let holders = vec![Holder { pid: 812, name: "registry".into(), unit: Some("registry.service".into()) }];
    instance.machine.add_socket(Listener { at: "127.0.0.1:5000".parse().unwrap(), holders });
    let error = instance.boot().await.error("applications.shop");
    assert!(error.starts_with("port 5000 is in use by registry (pid 812, registry.service)"), "{error}");
    assert_eq!(site(&instance, "shop"), None);
}

#[tokio::test(start_paused = true)]
async fn killed_in_any_change_the_proxy_ends_as_if_it_had_not_been() {
    let built = "build: [[/bin/build]]";
    let documents = [
        (shop(1, "port: 5000"), shop(2, "port: 6000"), vec!["0.0.0.0:80", "127.0.0.1:6000"]),
        (shop(1, "port: 5000"), shop(2, "port: 5000, proxy: none"), vec![]),
        (shop(1, "port: 5000"), document("store", 2, "port: 5000"), vec!["0.0.0.0:80", "127.0.0.1:5000"]),
        (shop(1, "proxy: none, port: 8080"), shop(2, "port: 5000, proxy: { listen: 8080 }"), vec!["0.0.0.0:8080", "127.0.0.1:5000"]),
        (
            shop(1, &format!("overlap: false, {built}")),
            shop(2, &format!("overlap: false, proxy: {{ listen: 81 }}, {built}")),
            vec!["0.0.0.0:81"],
        ),
        (shop(1, &format!("overlap: false, {built}")), shop(2, &format!("overlap: false, proxy: none, {built}")), vec![]),
    ];
    for (old, new, expected) in documents {
        for count in 0.. {
            let mut instance = instance(&old);
            instance.boot_well().await;
            let was = proxy(&instance).await;
            turn_to(&mut instance, &new);
            instance.machine.die_after(count);
            let died = tokio::select! {
                biased;
                () = instance.machine.died() => true,
                _ = instance.boot() => false,
            };
            instance.machine.restart_process();
            instance.boot_well().await;
            changes_nothing(&mut instance).await;
            let (files, ports) = proxy(&instance).await;
            assert!(!files.iter().any(|file| file.contains("staged") || file.contains(".tested")), "killed in change {count}: {files:?}");
            assert_eq!(ports, expected, "killed in change {count} on the way to {new}");
            if !died {
                assert_ne!((files, ports), was);
                break;
            }
        }
    }
}

/// A reboot followed by `ingot restore-applications`.
async fn reboot(instance: &Instance) {
    instance.machine.reboot();
    let host = instance.machine.host();
    let id = identity::dmi(&*host.files).await.unwrap();
    let record = Record::load(host.files.clone(), host.users.own(), &id).await.unwrap();
    let missing = bring_back(&record, &host, "another").await;
    assert!(missing.failed.is_empty(), "{missing:?}");
}

/// nginx makes a server without a `listen` directive listen on port 80.
#[tokio::test(start_paused = true)]
async fn tls_alone_is_no_http_after_a_reboot() {
    let tls =
        "overlap: false, proxy: { listen: [], tls: { certificate: \"{{secrets.site.certificate}}\", key: \"{{secrets.site.key}}\" } }";
    let text = shop(1, tls) + "secrets: { site: { secrets_manager: site } }";
    let mut instance = instance(&text);
    instance.secrets = std::rc::Rc::new(
        FakeSecretsManager::default()
            .with("site", "{\"certificate\": \"-----BEGIN CERTIFICATE-----\", \"key\": \"-----BEGIN PRIVATE KEY-----\"}"),
    );
    instance.boot_well().await;
    assert_eq!(table(&instance)[0], "listen 443 backlog=4096 ssl http2;");
    let whole = site(&instance, "shop").unwrap();

    // A manual run while everything is up.
    let host = instance.machine.host();
    let record = Record::load(host.files.clone(), host.users.own(), &identity::dmi(&*host.files).await.unwrap()).await.unwrap();
    bring_back(&record, &host, "same").await;
    assert_eq!(site(&instance, "shop").as_ref(), Some(&whole), "it has its certificate still");

    reboot(&instance).await;
    let without = site(&instance, "shop").unwrap();
    let servers: Vec<&str> = without.split("server {").skip(1).collect();
    assert!(servers.iter().all(|server| server.contains("listen ")), "{without}");
    assert_eq!(ports(&instance).await, [""; 0]);
    instance.machine.restart_process();
    instance.boot_well().await;
    assert_eq!(site(&instance, "shop"), Some(whole));
}

/// The boot has read its certificate again, whatever happens to the next release.
#[tokio::test(start_paused = true)]
async fn after_a_reboot_what_serves_has_its_certificate_while_the_next_one_is_built_and_where_that_fails() {
    let tls = "proxy: { listen: [], tls: { certificate: \"{{secrets.site.certificate}}\", key: \"{{secrets.site.key}}\" } }";
    for environment in ["", ", environment: { KEY: \"{{secrets.site.key}}\" }"] {
        let text = |version| {
            shop(version, &format!("port: 5000, build: [[/bin/build]], {tls}{environment}"))
                + "secrets: { site: { secrets_manager: site } }"
        };
        let mut instance = instance(&text(1));
        instance.secrets = std::rc::Rc::new(
            FakeSecretsManager::default()
                .with("site", "{\"certificate\": \"-----BEGIN CERTIFICATE-----\", \"key\": \"-----BEGIN PRIVATE KEY-----\"}"),
        );
        instance.boot_well().await;
        let whole = site(&instance, "shop").unwrap();
        reboot(&instance).await;
        assert_ne!(site(&instance, "shop").as_ref(), Some(&whole));
        turn_to(&mut instance, &text(2));
        let (machine, seen) = (instance.machine.clone(), std::rc::Rc::new(std::cell::RefCell::new(None)));
        let during = std::rc::Rc::clone(&seen);
        instance.machine.on_command("build", move |_, _| {
            *during.borrow_mut() = machine.file(SITE).map(|(text, _)| text);
            Outcome::Ends(End::Exited(4))
        });
        let booted = instance.boot().await;
        assert!(booted.error("applications.shop").contains("app-1 keeps serving"), "{}", booted.transcript.text());
        assert_eq!(seen.borrow().as_ref(), Some(&whole), "while it was built");
        assert_eq!(site(&instance, "shop"), Some(whole), "after it has failed");
        assert_eq!(ports(&instance).await, ["0.0.0.0:443", "127.0.0.1:5000"]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_nginx_is_asked_for_its_version_again() {
    let mut instance = instance(&shop(1, "port: 5000"));
    instance.machine.add_file("/usr/sbin/nginx", "1.22.1");
    instance.machine.on_command("nginx", |_, on_line| {
        on_line("nginx version: nginx/1.22.1");
        Outcome::Ends(End::Exited(0))
    });
    instance.boot_well().await;
    changes_nothing(&mut instance).await;
    instance.machine.add_file("/usr/sbin/nginx", "1.28.0");
    instance.machine.on_command("nginx", |_, on_line| {
        on_line("nginx version: nginx/1.28.0");
        Outcome::Ends(End::Exited(0))
    });
    instance.machine.restart_process();
    instance.boot_well().await;
    assert!(instance.machine.file("/run/ingot/proxy/nginx.conf").unwrap().0.contains("keepalive_min_timeout"));
    changes_nothing(&mut instance).await;
}

#[tokio::test(start_paused = true)]
async fn two_applications_are_configured_one_after_the_other() {
    let two = shop(1, "port: 5000").replace(
        "applications: {",
        "applications: { admin: { bundle: bundles.app, run: { web: bin/web }, user: shop, port: 7000, proxy: { listen: 8081 } },",
    );
    let instance = instance(&two);
    let failed = instance.boot_well().await.report.outcome;
    assert_eq!(failed, BootOutcome::Done);
    assert_eq!(ports(&instance).await, ["0.0.0.0:80", "0.0.0.0:8081", "127.0.0.1:5000", "127.0.0.1:7000"]);
    assert!(instance.machine.file(SITE).is_some());
}

/// Node's port is 8080; the plan assumes 5000.
#[tokio::test(start_paused = true)]
async fn the_port_of_a_platform_is_not_the_proxys() {
    let text = shop(1, "proxy: { listen: 8080 }").replace("run: { web: bin/web, jobs: bin/jobs }, ", "");
    let instance = instance(&text);
    let release = "/opt/app/releases/app-1";
    instance.boot().await;
    instance.machine.add_file(&format!("{release}/package.json"), "{\"scripts\": {\"start\": \"node app.js\"}}");
    instance.machine.restart_process();
    insta::assert_snapshot!(instance.boot().await.error("applications.shop"), @r"
    the release's platform has port 8080, and so has the proxy
      hint: give one of the two another `port`, or the proxy another `listen`
    ");
}
