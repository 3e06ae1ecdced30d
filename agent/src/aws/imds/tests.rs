use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::aws::loopback::{Loopback, Reply, Request};
use crate::failure::Failure;

use super::*;

const QUICK: Patience = Patience {
    budget: Duration::from_millis(1_500),
    attempt: Duration::from_millis(100),
    pauses: Backoff::IMDS.between(Duration::from_millis(5), Duration::from_millis(20)),
};

const IDENTITY: &str = r#"{"instanceId": "i-0abc", "region": "eu-west-1", "version": "2017-09-30"}"#;

/// IMDS in good order: strict about tokens, with an answer for everything.
fn whole(request: &Request) -> Reply {
    if request.path == "/latest/api/token" {
        return match (request.method.as_str(), request.header("x-aws-ec2-metadata-token-ttl-seconds")) {
            ("PUT", Some("21600")) => Reply::new(200, "TOKEN"),
            _ => Reply::new(400, ""),
        };
    }
    if request.header("x-aws-ec2-metadata-token") != Some("TOKEN") || request.header("x-forwarded-for").is_some() {
        return Reply::new(401, "");
    }
    match request.path.as_str() {
        "/latest/user-data" => Reply::new(200, b"#ingot\n\x1f\x8b\xff".as_slice()),
        "/latest/dynamic/instance-identity/document" => Reply::new(200, IDENTITY),
        "/latest/meta-data/iam/security-credentials/" => Reply::new(200, "shop-role\n"),
        "/latest/meta-data/tags/instance" => Reply::new(200, "Name\naws:cloudformation:stack-name"),
        "/latest/meta-data/tags/instance/aws:cloudformation:stack-name" => Reply::new(200, "shop"),
        _ => Reply::new(404, ""),
    }
}

/// As [`whole`], but the first answers for paths that end in `end` come from `script`.
fn at_first(end: &'static str, script: Vec<Reply>) -> Loopback {
    let next = AtomicUsize::new(0);
    Loopback::serve(move |request| {
        let scripted = request.path.ends_with(end).then(|| script.get(next.fetch_add(1, Ordering::SeqCst)).cloned());
        scripted.flatten().unwrap_or_else(|| whole(request))
    })
}

fn imds(server: &Loopback) -> Imds {
    Imds::new(Http::new(None), Some(&server.url), QUICK).unwrap()
}

#[tokio::test]
async fn reads_everything_with_one_token_and_nothing_twice_that_does_not_change() {
    let server = Loopback::serve(whole);
    let imds = imds(&server);
    for _ in 0..2 {
        let (identity, role, tag) =
            futures_util::join!(imds.identity(), imds.role_within(Duration::ZERO), imds.tag("aws:cloudformation:stack-name"));
        assert_eq!(identity.unwrap().region, "eu-west-1");
        assert_eq!(role.unwrap().as_deref(), Some("shop-role"));
        assert_eq!(tag.unwrap().as_deref(), Some("shop"));
    }
    assert_eq!(imds.user_data().await.unwrap().unwrap(), b"#ingot\n\x1f\x8b\xff");
    assert_eq!((server.requests().len(), server.count("security-credentials/")), (6, 2), "{:?}", server.requests());
    assert_eq!(imds.waiting(), None);
}

#[tokio::test]
async fn a_status_of_the_token_request_that_is_final_stops_at_once() {
    for (status, disabled) in [(403, true), (400, false), (404, false), (302, false)] {
        let server = at_first("api/token", vec![Reply::new(status, "").header("location", "/latest/elsewhere"); 9]);
        let imds = imds(&server);
        let (user_data, identity) = futures_util::join!(imds.user_data(), imds.identity());
        let error = user_data.unwrap_err();
        assert_eq!(matches!(error, ImdsError::Disabled), disabled, "{status}: {error}");
        assert!(error.is_unreachable() && error.hint().is_some());
        assert_eq!(identity.unwrap_err().to_string(), error.to_string());
        assert_eq!(server.requests().len(), 1, "{status}: reads that begin together share the refusal");
    }
}

/// A worker runs for months, and IMDS can be turned off and on in the meantime.
#[tokio::test]
async fn a_refusal_of_the_token_does_not_hold_for_ever() {
    let server = at_first("api/token", vec![Reply::new(403, "")]);
    let imds = imds(&server);
    assert!(imds.user_data().await.is_err() && imds.user_data().await.is_err());
    assert_eq!(server.requests().len(), 1);
    tokio::time::pause();
    tokio::time::advance(REFUSED_FOR + Duration::from_millis(1)).await;
    tokio::time::resume();
    assert!(imds.user_data().await.unwrap().is_some());
}

#[tokio::test]
async fn a_404_is_none_and_any_other_refusal_is_an_error() {
    let server = at_first("user-data", vec![Reply::new(404, "")]);
    assert_eq!(imds(&server).user_data().await.unwrap(), None);

    for status in [400, 403, 301] {
        let server = at_first("user-data", vec![Reply::new(status, "").header("location", "/latest/elsewhere"); 9]);
        let error = imds(&server).user_data().await.unwrap_err();
        assert!(matches!(&error, ImdsError::Refused { status: refused, .. } if *refused == status), "{error}");
        assert_eq!(server.count("user-data"), 1);
    }
}

#[tokio::test]
async fn a_token_that_is_gone_is_replaced_once() {
    let server = at_first("user-data", vec![Reply::new(401, "")]);
    assert!(imds(&server).user_data().await.unwrap().is_some());
    assert_eq!((server.count("api/token"), server.count("user-data")), (2, 2));

    let server = at_first("user-data", vec![Reply::new(401, ""); 9]);
    let error = imds(&server).user_data().await.unwrap_err();
    assert!(matches!(error, ImdsError::Refused { status: 401, .. }), "{error}");
    assert_eq!((server.count("api/token"), server.count("user-data")), (2, 2));
}

/// Some tool has taken each of these for an empty answer, and booted the instance without its configuration.
#[tokio::test]
async fn what_passes_is_waited_out() {
    let troubles = [
        vec![Reply::new(503, ""), Reply::new(503, "")],
        vec![Reply::new(500, "").header("retry-after", "0"), Reply::new(429, "")],
        vec![Reply::new(200, "#ing").truncated_by(12)],
        vec![Reply::new(200, "#ing").slow(Duration::from_millis(300))],
    ];
    for end in ["user-data", "api/token"] {
        for trouble in &troubles {
            let server = at_first(end, trouble.clone());
            assert_eq!(imds(&server).user_data().await.unwrap().unwrap(), b"#ingot\n\x1f\x8b\xff", "{end}: {trouble:?}");
            assert_eq!(server.count(end), trouble.len() + 1, "{end}: {trouble:?}");
        }
    }
}

#[tokio::test]
async fn honours_retry_after() {
    let server = at_first("user-data", vec![Reply::new(503, "").header("retry-after", "1")]);
    let begun = Instant::now();
    assert!(imds(&server).user_data().await.unwrap().is_some());
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn waits_for_a_service_that_is_late_and_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let imds = Imds::new(Http::new(None), Some(&format!("http://{address}")), QUICK).unwrap();

    let late = async {
        sleep(Duration::from_millis(200)).await;
        let waiting = imds.waiting().unwrap();
        assert!(waiting.starts_with("for IMDS: connection refused, ") && waiting.ends_with(" tries, 0 s"), "{waiting}");
        Loopback::on(TcpListener::bind(address).unwrap(), whole)
    };
    let (user_data, identity, server) = futures_util::join!(imds.user_data(), imds.identity(), late);
    assert!(user_data.unwrap().is_some() && identity.is_ok());
    assert_eq!(server.requests().len(), 3);
    assert_eq!(imds.waiting(), None);
}

#[tokio::test]
async fn gives_up_after_its_budget_and_names_the_last_blocker() {
    let server = at_first("user-data", vec![Reply::new(503, ""); 999]);
    let patience = Patience { budget: Duration::from_millis(200), ..QUICK };
    let error = Imds::new(Http::new(None), Some(&server.url), patience).unwrap().user_data().await.unwrap_err();
    assert_eq!(error.to_string(), "the instance metadata service did not answer within 200ms (last: status 503)");
}

#[tokio::test]
async fn interim_responses_without_an_end_are_not_imds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let flooded = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            while stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(4096)).is_ok() {}
        }
    });
    let busy = at_first("token", vec![Reply::new(503, ""); 999]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, last, begins) in [
        (
            flooded,
            "more than 100 interim responses (status 1xx) and no final one: this is not IMDS",
            "run `curl -v http://169.254.169.254/latest/` to see which server answers",
        ),
        (busy.url.clone(), "status 503", "check the network"),
        (format!("http://{nobody}"), "connection refused", "check the network"),
    ] {
        let patience = Patience { budget: Duration::from_millis(300), ..QUICK };
        let error = Imds::new(Http::new(None), Some(&url), patience).unwrap().user_data().await.unwrap_err();
        assert!(error.to_string().ends_with(&format!("(last: {last})")), "{error}");
        assert!(error.hint().unwrap().starts_with(begins), "{error}: {:?}", error.hint());
    }
}

#[tokio::test]
async fn tells_a_missing_tag_from_tags_that_are_not_shown() {
    let server = Loopback::serve(whole);
    let shown = imds(&server);
    assert_eq!(shown.tag("Owner").await.unwrap(), None);
    assert_eq!(shown.tag("Owner").await.unwrap(), None);
    assert_eq!(server.count("tags/instance/Owner"), 1);
    assert_eq!(shown.tag("a b/../c?").await.unwrap(), None);
    assert_eq!(server.count("tags/instance/a%20b%2F..%2Fc%3F"), 1);

    let server = Loopback::serve(|request| if request.path.contains("tags") { Reply::new(404, "") } else { whole(request) });
    assert!(matches!(imds(&server).tag("Owner").await, Err(ImdsError::TagsDisabled)));
}

#[tokio::test]
async fn a_role_may_be_late() {
    const NONE_YET: [u16; 2] = [404, 404];
    let replies = || NONE_YET.map(|status| Reply::new(status, "")).to_vec();

    let server = at_first("security-credentials/", replies());
    let imds_at_once = imds(&server);
    assert_eq!(imds_at_once.role_within(Duration::ZERO).await.unwrap(), None);
    assert_eq!(server.count("security-credentials/"), 1);

    let server = at_first("security-credentials/", replies());
    let patient = imds(&server);
    assert_eq!(patient.role_within(Duration::from_secs(1)).await.unwrap().as_deref(), Some("shop-role"));
    assert_eq!(server.count("security-credentials/"), 3);
}

#[tokio::test]
async fn a_read_that_ends_does_not_hide_that_another_waits() {
    let server = at_first("user-data", vec![Reply::new(503, "").header("retry-after", "3600")]);
    let patience = Patience { budget: Duration::from_secs(60), ..QUICK };
    let imds = Imds::new(Http::new(None), Some(&server.url), patience).unwrap();
    let mut user_data = std::pin::pin!(imds.user_data());
    while imds.waiting().is_none() {
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut user_data).await.is_err());
    }
    imds.identity().await.unwrap();
    assert!(imds.waiting().unwrap().starts_with("for IMDS: status 503, 1 try"), "{:?}", imds.waiting());
}

#[tokio::test]
async fn what_iam_would_not_take_is_no_role() {
    for name in ["r".repeat(LONGEST_ROLE + 1), "<html>".into(), "../../user-data".into(), "two words".into()] {
        let server = at_first("security-credentials/", vec![Reply::new(200, name.clone())]);
        assert!(matches!(imds(&server).role_within(Duration::ZERO).await, Err(ImdsError::Malformed { .. })), "{name}");
    }
}

#[tokio::test]
async fn what_is_not_an_identity_document_is_malformed() {
    let server = at_first("document", vec![Reply::new(200, "<html>")]);
    assert!(matches!(imds(&server).identity().await, Err(ImdsError::Malformed { .. })));

    let server = at_first("user-data", vec![Reply::new(200, vec![b'x'; 1024 * 1024 + 1])]);
    assert!(matches!(imds(&server).user_data().await, Err(ImdsError::Malformed { .. })));
}

#[tokio::test]
async fn the_second_endpoint_serves_when_the_first_does_not_connect_and_has_no_say_when_it_does() {
    let transport = |first: &str, second: &str| Transport::new(Http::new(None), url(first).unwrap(), Some(url(second).unwrap()));
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    // This address never answers a packet (RFC 5737).
    let silent = "http://192.0.2.1";
    for first in [nobody.as_str(), silent] {
        let server = Loopback::serve(whole);
        let imds = Imds::over(transport(first, &server.url), QUICK);
        assert!(imds.user_data().await.unwrap().is_some());
        assert_eq!(server.requests().len(), 2);
    }

    let patience = Patience { attempt: Duration::from_secs(1), ..QUICK };
    let slow = at_first("api/token", vec![Reply::new(200, "TOKEN").slow(Duration::from_millis(300))]);
    let disabled = Loopback::serve(|_| Reply::new(403, ""));
    let imds = Imds::over(transport(&slow.url, &disabled.url), patience);
    assert!(imds.user_data().await.unwrap().is_some());
    assert_eq!((slow.requests().len(), disabled.requests().len()), (2, 1));
}

#[test]
fn an_endpoint_is_a_plain_http_url() {
    for endpoint in ["169.254.169.254", "https://example.com", "http://", ""] {
        assert!(matches!(Imds::new(Http::new(None), Some(endpoint), QUICK), Err(ImdsError::Endpoint { .. })), "{endpoint}");
    }
}
