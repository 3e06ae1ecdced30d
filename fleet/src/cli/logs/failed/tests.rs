//! What is shown of evidence.

use ingot::desk::shown;

use super::*;
use crate::deployment::record::Record;
use crate::story::{Key, Unread};

fn found(content: &str) -> Found {
    let key = Key::read("shop/prod/2026/12/01/090012Z-i-0a1b-0f0f-serve.json.zst").unwrap();
    let content = Content::read(&zstd::encode_all(content.as_bytes(), 0).unwrap());
    Found { key, url: "s3://shop-evidence/shop/prod/2026/12/01/090012Z-i-0a1b-0f0f-serve.json.zst".into(), content }
}

fn during() -> During {
    During { number: 7, release: "v44".into(), image: "ami-1".into(), is_certain: true }
}

const FAILURE: &str = r#"{
    "version": 1, "moment": "end", "written_at": "2026-12-01T09:00:20Z", "reason": "applications.shop: web did not start: exit status 5",
    "report": {
        "version": 1, "outcome": "failed", "elapsed_ms": 812.5, "warnings": ["the clock is late"],
        "steps": [
            { "address": "bundles.app", "outcome": "changed" },
            { "address": "applications.shop", "outcome": "failed",
              "error": { "message": "web did not start", "causes": ["exit status 5", "last lines of its output:\nno database here"],
                         "hint": "look at `journalctl -u shop.web-1`" } },
            { "address": "services.nginx", "outcome": "skipped", "skipped_for": "applications.shop" }
        ]
    },
    "journal": { "shop.*": ["09:00:17 shop[1]: starting", "09:00:18 shop[1]: \u001b[2Jno database here", "09:00:19 shop[1]: bye"] },
    "journal_is_cut": false, "journal_left_out": null
}"#;

#[test]
fn a_failure_is_shown_with_its_report_and_the_last_lines() {
    insta::assert_snapshot!(shown(&text(&found(FAILURE), Some(&during()), 2)), @r"
    i-0a1b, deployment 7 (v44): the boot of 2026-12-01T09:00:12Z
      applications.shop: web did not start: exit status 5: last lines of its output:
      no database here
        hint: look at `journalctl -u shop.web-1`
      skipped: services.nginx
      warning: the clock is late
      journal of shop.*, the last 2 of 3 lines (--lines shows more):
        09:00:18 shop[1]: \x1b[2Jno database here
        09:00:19 shop[1]: bye
      all of it: aws s3 cp s3://shop-evidence/shop/prod/2026/12/01/090012Z-i-0a1b-0f0f-serve.json.zst - | zstd -dc | jq .
    ");
}

#[test]
fn a_newer_format_is_told() {
    let newer = found(r#"{"version": 2, "moments": []}"#);
    assert_eq!(newer.content.as_ref().unwrap_err(), &Unread::Newer(2));
    insta::assert_snapshot!(text(&newer, None, 10), @r"
    i-0a1b: the boot of 2026-12-01T09:00:12Z
      cannot be shown: a newer ingot wrote it (version 2 of the format)
      hint: update ingot-fleet, or read it yourself:
      all of it: aws s3 cp s3://shop-evidence/shop/prod/2026/12/01/090012Z-i-0a1b-0f0f-serve.json.zst - | zstd -dc | jq .
    ");
    assert_eq!(head(&newer, None)["unread"], "a newer ingot wrote it (version 2 of the format)");
}

#[test]
fn a_journal_that_was_left_out_says_why() {
    let left_out = r#"{"version": 1, "moment": "failure", "written_at": "2026-12-01T09:00:20Z", "reason": "no secrets",
        "report": {"error": {"message": "no secrets", "causes": []}}, "journal": {}, "journal_is_cut": true,
        "journal_left_out": "secrets.db was not read"}"#;
    insta::assert_snapshot!(text(&found(left_out), None, 10), @r"
    i-0a1b: the boot of 2026-12-01T09:00:12Z
      the boot: no secrets
      the journal was left out: secrets.db was not read
      all of it: aws s3 cp s3://shop-evidence/shop/prod/2026/12/01/090012Z-i-0a1b-0f0f-serve.json.zst - | zstd -dc | jq .
    ");
}

/// The tag counts if EC2 still knows the instance, otherwise the time of the boot.
#[test]
fn each_is_of_a_deployment() {
    use crate::deployment::record::tests::{beginner, goal};
    let one = found(FAILURE);
    let began = |number, at: &str| {
        let beginner = crate::deployment::record::Beginner { at: at.parse().unwrap(), ..beginner("ann") };
        Record::begin("shop", "prod", number, goal("v44"), beginner)
    };
    let records = [began(8, "2026-12-01T10:00:00Z"), began(7, "2026-12-01T08:59:00Z"), began(6, "2026-11-30T00:00:00Z")];
    let of = |tagged| During::of(tagged, one.key.began, &records).map(|found| (found.number, found.is_certain));
    assert_eq!((of(Some(6)), of(None), of(Some(99))), (Some((6, true)), Some((7, false)), Some((7, false))));
    assert_eq!(During::of(None, one.key.began, &[]), None);
}
