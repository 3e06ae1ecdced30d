//! A release is requested, and its boot is ended in the middle of the switch: the previous release serves again.

use std::time::Duration;

use crate::boot::audience::Ending;
use crate::boot::in_hand::Asked;
use crate::boot::request::Request;
use crate::boot::tests::site::{Site, request};
use crate::digest::Sha256;

const HEALTH: &str = "http://127.0.0.1:5000/health";

/// An instance on which v1 serves, and a request for v2.
async fn serving() -> (Site, Request) {
    let site = Site::with(&format!(
        "#ingot\nversion: 1\nvalues: {{ release: v1, release_sha256: {} }}\nbundles: {{ app: {{ s3: 's3://shop/{{{{values.release}}}}.tar', sha256: \
         '{{{{values.release_sha256}}}}', into: /opt/app }} }}\napplications: {{ shop: {{ bundle: bundles.app, port: 5000, overlap: false, proxy: \
         none, ready: {{ http: /health, timeout: 10m }}, run: {{ web: serve, jobs: work }} }} }}\n",
        Sha256::of(b"v1")
    ));
    ["v1", "v2"].iter().for_each(|name| site.objects.put(&format!("s3://shop/{name}.tar"), name));
    site.machine.stop_inventing_archives();
    assert_eq!(site.boot().await, Ending::Done);
    let wanted = format!("v2@sha256:{}", Sha256::of(b"v2")).parse().unwrap();
    (site, Request { release: Some(Asked { wanted, at: Duration::from_secs(1) }), ..request() })
}

/// Regression: nothing served, and nobody starts another boot after a Systems Manager command.
#[tokio::test(start_paused = true)]
async fn by_sigterm_or_by_its_deadline() {
    for is_asked in [true, false] {
        let (site, request) = serving().await;
        site.machine.add_answer(HEALTH, 503);
        let deadline = site.machine.host().clock.elapsed() + Duration::from_secs(if is_asked { 1_800 } else { 60 });
        let asked = async {
            site.asked_after(60).await;
            site.machine.add_answer(HEALTH, 200);
            if is_asked { "SIGTERM" } else { std::future::pending().await }
        };
        assert_eq!(site.boot_until(Request { deadline, ..request }, asked).await, Ending::Failed);
        let snapshot = site.machine.snapshot().to_string();
        assert!(snapshot.contains("shop.web-1.service  active") && snapshot.contains("shop.jobs-1.service  active"), "{snapshot}");
        assert!(!snapshot.contains("shop.web-2.service  active"), "{snapshot}");
        let warnings = site.report().warnings;
        assert!(warnings.iter().any(|warning| warning.ends_with(" (generation 1) serves again")), "{warnings:?}");
    }
}
