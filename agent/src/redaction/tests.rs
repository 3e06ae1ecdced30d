//! No part of a secret is left, however it was printed, and a log remains readable.

mod broken;

use ::base64::Engine as _;
use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

fn redactor(value: serde_json::Value) -> Redactor {
    let redactor = Redactor::default();
    redactor.learn(&value, &[]);
    redactor
}

const NASTY: [&str; 14] = [
    "hunter22",
    "p%41ss w+rd/100%",
    "pass\"wo'rd$\\ä",
    "a&b<c>d=e;f&amp;g",
    "tab\there\\there",
    "\\u0041BCdefg\\x41",
    "ünïcödé€😀",
    "C:\\new\\table\\x",
    "++//==--__~~",
    "$(rm -rf /); `x`",
    "{\"a\": [1, 'b']}",
    "pw%%2F%%25%252541xyz",
    "x/y+z9kQpLmN8r/+",
    "blanks  within it",
];

fn percent(text: &str, keep: &dyn Fn(u8) -> bool, lower: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' if lower => out.push('+'),
            _ if keep(byte) => out.push(byte.into()),
            _ if lower => out.push_str(&format!("%{byte:02x}")),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// `text` in the forms in which programs print it.
fn printed(text: &str) -> Vec<String> {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let all = |text: &str| percent(text, &|_| false, false);
    let ascii = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    let xml =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;");
    let mut forms = vec![
        text.to_owned(),
        json(text),
        json(&json(text)),
        json(text).replace('/', "\\/"),
        ascii(text),
        json(&ascii(text)),
        format!("{text:?}"),
        format!("'{}'", text.replace('\'', "'\\''")),
        text.replace('%', "%%"),
        xml(text),
        json(&xml(text)),
        percent(text, &plain, false),
        percent(text, &plain, true),
        percent(text, &|byte| plain(byte) || b"-_.~!*'()/:@$,;=".contains(&byte), false),
        all(text),
        all(text).to_lowercase(),
        all(&all(text)),
        percent(&json(text), &plain, false),
        json(&percent(text, &plain, true)),
    ];
    for before in ["", "x", "xy", "shop_rw:", "{\"password\": \""] {
        let whole = format!("{before}{text}\"}}");
        forms.extend([STANDARD.encode(&whole), STANDARD_NO_PAD.encode(&whole), URL_SAFE.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)]);
    }
    forms.extend([
        STANDARD.encode(text),
        STANDARD.encode(json(text)),
        STANDARD.encode(STANDARD.encode(text)),
        percent(&STANDARD.encode(text), &plain, false),
        format!("Authorization: Basic {}", STANDARD.encode(format!("shop:{text}"))),
        STANDARD.encode(text).replace('/', "\\/"),
        hex(text),
        hex(text).to_uppercase(),
        hex(&format!("shop:{text}")),
        hex(&json(text)),
        hex(&STANDARD.encode(text)),
        STANDARD.encode(hex(text)),
        format!("0x{}", hex(text)),
        text.bytes().map(|byte| format!("{byte:02X}:")).collect(),
        format!("{:02x?}", text.as_bytes()),
        text.as_bytes().chunks(2).map(|two| two.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + " ").collect(),
    ]);
    forms
}

#[test]
fn a_secret_is_taken_out_however_it_is_printed() {
    for secret in NASTY {
        let redactor = redactor(json!(secret));
        let unmarked = |form: &String| redactor.redact(form).replace(MARK, "");
        for form in printed(secret) {
            for line in [form.clone(), format!("a={form} b"), format!("<{form}>"), format!("[\"{form}\",\"b\"]")] {
                let clean = redactor.redact(&line);
                assert!(clean.contains(MARK), "{secret}: {line} became {clean}");
            }
            // Quotes may remain, and what surrounds a secret in base64.
            let left = unmarked(&form);
            assert!(left.len() <= 30 && left.len() * 2 <= form.len() + 16, "{secret}: {form} left {left}");
        }
    }
}

/// Regression: 19 of 20 characters of a password were in the report, because the line was cut before it was redacted.
#[test]
fn what_a_cut_leaves_of_a_secret_is_taken_out() {
    for secret in ["hunter22-hunter23-hu", NASTY[1], NASTY[2], NASTY[5], NASTY[6], NASTY[11]] {
        let redactor = redactor(json!(secret));
        let json = serde_json::Value::from(secret).to_string();
        let every = percent(secret, &|_| false, false);
        let unicode = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
        let base64 = [STANDARD.encode(secret), URL_SAFE.encode(format!("xy{secret}"))];
        for form in [secret, &json[1..json.len() - 1], &every, &unicode, &base64[0], &base64[1], &hex(secret)] {
            for shown in (0..form.len()).rev().step_by(form.len() / 7 + 1).filter(|shown| form.is_char_boundary(*shown)) {
                let line = format!("{} {}", ".".repeat(LINE_LIMIT - 1 - shown), &form[..shown]);
                let left = redactor.redact(&line).replace(['.', ' '], "").replace(MARK, "");
                // Less than four characters, in any notation.
                assert!(left.len() < 4 * form.len().div_ceil(secret.chars().count()), "{secret}: {form} cut at {shown} left {left}");
                assert!(!secret.get(..4).is_some_and(|begin| left.contains(begin)), "{secret}: {form} cut at {shown} left {left}");
            }
        }
    }
}

#[test]
fn the_longer_secret_goes_whole() {
    assert_eq!(redactor(json!(["abcd", "abcdefgh"])).redact("x abcdefgh y"), "x [redacted] y");
    assert_eq!(redactor(json!(["abcdefgh", "efghijkl"])).redact("x abcdefghijkl y"), "x [redacted] y");
}

#[test]
fn every_field_of_a_secret_goes_but_what_is_no_secret() {
    let secret = json!({"username": "shop_rw", "password": "p\"q5tz", "port": 5432, "engine": "postgres", "tls": true, "id": 123456789});
    let line = "shop_rw:p\"q5tz@db:5432 {\"p\\\"q5tz\"} postgres true 123456789";
    let redactor = redactor(secret.clone());
    assert_eq!(redactor.redact(line), "[redacted]:[redacted]@db:5432 {\"[redacted]\"} postgres true [redacted]");
    let redactor = Redactor::default();
    redactor.learn(&secret, &["username".into()]);
    assert_eq!(redactor.redact(line), "shop_rw:[redacted]@db:5432 {\"[redacted]\"} postgres true [redacted]");
}

#[test]
fn fields_are_public_by_their_path() {
    let redactor = Redactor::default();
    redactor.learn(
        &json!({"db": {"user": "shop_rw", "password": "hunter22"}, "user": "other_one", "list": ["first", "second"]}),
        &["db.user".into(), "list.0".into()],
    );
    assert_eq!(redactor.redact("shop_rw hunter22 other_one first second"), "shop_rw [redacted] [redacted] first [redacted]");
}

#[test]
fn what_is_made_of_public_fields_alone_is_public() {
    let redactor = Redactor::default();
    let secret = json!({"user": "shop rw", "hosts": ["first-one", "second-one"], "password": "hunter22"});
    redactor.learn(&secret, &["user".into(), "hosts".into()]);
    redactor.learn_made(&json!("shop%20rw"), &[&secret["user"]]);
    redactor.learn_made(&json!("SHOP%20RW"), &[&json!("shop%20rw")]);
    redactor.learn_made(&json!("first-one,second-one"), &[&secret["hosts"]]);
    redactor.learn_made(&json!("shop rw:retnuh22"), &[&secret["user"], &secret["password"]]);
    let line = "shop rw shop%20rw SHOP%20RW first-one,second-one";
    assert_eq!(redactor.redact(line), line);
    assert_eq!(redactor.redact("shop rw:retnuh22 hunter22"), "[redacted] [redacted]");
}

#[test]
fn in_a_file_with_secrets_no_scalar_is_too_common() {
    let redactor = redactor(json!({"pin": "4711", "id": 7, "engine": "postgres", "tls": true, "mark": "a\"b", "password": "hunter22"}));
    for (line, clean) in [
        ("pin=4711 port=5432", "pin=[redacted] port=5432"),
        ("id = 7", "id = [redacted]"),
        ("e: postgres, tls: true", "e: [redacted], tls: [redacted]"),
        ("m = \"a\\\"b\"", "m = \"[redacted]\""),
        ("p = hunter22", "p = [redacted]"),
    ] {
        assert_eq!(redactor.redact_content(line), clean);
    }
    assert_eq!(redactor.redact("pin=4711 tls: true"), "pin=4711 tls: true");
}

/// Regression: the braces of a key in JSON turned every file with secrets into rows of marks.
#[test]
fn lines_of_a_secret_and_signs_are_no_scalars() {
    let redactor = redactor(json!({"key": "{\n  \"a\": [\n  ],\n  \"kty\": \"hunter22\"\n}\n", "sign": "--", "pin": "47"}));
    for (line, clean) in [("{", "{"), ("  ],", "  ],"), ("a -- b", "a -- b"), ("pin = 47", "pin = [redacted]")] {
        assert_eq!(redactor.redact_content(line), clean);
    }
}

/// Regression: a password in a list, or in a text within an object, was only recognized
/// together with everything around it.
#[test]
fn what_a_text_holds_as_json_goes_alone_as_well() {
    let list = json!("[\"hunter22\", {\"key\": \"swordfish\"}]");
    let within = json!({"app": "{\"db\": {\"user\": \"shop_rw\", \"password\": \"hunter22\"}}", "keys": "[\"swordfish\"]"});
    for (secret, public) in [(list, "none"), (within, "app.db.user")] {
        let redactor = Redactor::default();
        redactor.learn(&secret, &[public.into()]);
        assert_eq!(redactor.redact("shop_rw, hunter22, swordfish"), "shop_rw, [redacted], [redacted]", "{secret}");
    }
}

/// Regression: a list of codes was printed line by line in a diff, and as a whole in a log.
#[test]
fn every_line_of_a_secret_of_short_lines_goes() {
    let secret = "4711\n0815\ntrue\n12";
    let redactor = redactor(json!(secret));
    for (line, clean) in [("4711", MARK), ("  - 0815", "  - [redacted]"), ("flag: true", "flag: [redacted]"), ("12", MARK), ("{", "{")] {
        assert_eq!(redactor.redact_content(line), clean);
        assert_eq!(redactor.redact(line), line, "in a log these are ports and flags");
    }
    let json = serde_json::Value::from(secret).to_string();
    for whole in [STANDARD.encode(secret), STANDARD_NO_PAD.encode(secret), json, secret.replace('\n', "%0A"), secret.replace('\n', "\\n")] {
        let clean = redactor.redact(&format!("codes={whole}"));
        assert!(clean.contains(MARK) && !clean.contains("4711") && clean.len() < 24, "{whole} became {clean}");
    }
    let tiny = {
        let tiny = Redactor::default();
        tiny.learn(&json!("1\n2"), &[]);
        tiny
    };
    assert_eq!((tiny.redact_content("a 2"), tiny.redact("a 2")), ("a [redacted]".into(), "a 2".into()));
}

#[test]
fn a_short_secret_beside_an_escape_goes() {
    for (secret, lines) in [
        ("ab12x", ["\\nab12x\\n", "{\"a\": \"\\tab12x\\n\"}", "a%0Aab12x%0A", "\\u000aab12x\\u000a"]),
        ("a\"b1x", ["\\na\\\"b1x\\n", "{\"a\": \"\\ta\\\"b1x\\n\"}", "%0Aa%22b1x%0A", "\\u000aa\\\"b1x\\u000a"]),
    ] {
        for line in lines {
            assert!(redactor(json!(secret)).redact(line).contains(MARK), "{secret}: {line}");
        }
    }
}

#[test]
fn base64_with_an_escaped_line_break_goes() {
    let redactor = redactor(json!("Zq7!kLm9Wv2"));
    for line in ["dXNlcjpacT\\ncha0xtOVd2Mg==", "dXNlcjpacT%0D%0Acha0xtOVd2Mg==", "x=dXNlcjpacTcha0xt\\\\r\\\\nOVd2Mg== y"] {
        let left = redactor.redact(line).replace(MARK, "");
        assert!(left.len() < 12, "{line} left {left}");
    }
}

#[test]
fn a_log_stays_a_log() {
    let redactor =
        redactor(json!({"flag": "true", "one": 1, "port": "8080", "host": "localhost", "name": "prod", "empty": "", "line": "\n{\n}\n"}));
    for line in ["true 1 on port 8080 of localhost:8080", "production 1.1 reproduced {", "}", "", "y2xvY2Fs", "127.0.0.1"] {
        assert_eq!(redactor.redact(line), line);
    }
    assert_eq!(redactor.redact("env=prod production"), "env=[redacted] production");
}

#[test]
fn each_line_of_a_key_goes_also_broken_and_in_base64() {
    let body: String =
        (0..6_u32).map(|line| STANDARD.encode(ring::digest::digest(&ring::digest::SHA384, &line.to_le_bytes())) + "\n").collect();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n");
    let redactor = redactor(json!(key));
    let encoded = STANDARD.encode(&key);
    let whole = [
        serde_json::Value::from(key.as_str()).to_string(),
        key.replace('\n', " "),
        percent(&key, &|byte| byte.is_ascii_alphanumeric(), false),
        encoded.clone(),
    ];
    let lines = key.lines().map(str::to_owned).chain(whole);
    let width = |width: usize| {
        move |text: &str| text.as_bytes().chunks(width).map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect::<Vec<_>>()
    };
    for line in lines.chain(width(76)(&encoded)).chain(width(64)(&encoded)).chain(width(40)(&body.replace('\n', ""))) {
        let clean = redactor.redact(&line);
        let left = clean.split(MARK).map(str::len).max().unwrap_or_default();
        assert!(clean.contains(MARK) && left < 12, "{line} became {clean}");
    }
    assert_eq!(redactor.redact(&format!("  {}", key.lines().nth(2).unwrap())), "  [redacted]");
}

#[test]
fn the_text_of_a_binary_secret_goes() {
    let redactor = Redactor::default();
    redactor.learn_bytes(b"\xff\x00\nk\nMIIEvQIBADAN\n\xff");
    assert_eq!(redactor.redact("k MIIEvQIBADAN"), "k [redacted]");
}

#[test]
fn base64_goes_with_its_padding() {
    assert_eq!(redactor(json!("hunter22")).redact("x=aHVudGVyMjI= y"), "x=[redacted] y");
}

/// Regression: every part of base64 was searched for in every secret, from its first byte to its last.
#[test]
fn the_time_hardly_grows_with_the_secrets() {
    let line = "QUJDREVGR0hJSktMTU5P ".repeat(LINE_LIMIT / 21 - 1);
    let large = |n: u8| STANDARD.encode((0..45_000_u32).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 24) as u8 ^ n).collect::<Vec<_>>());
    let took = |redactor: &Redactor| {
        let now = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        let fastest = (0..5).map(|_| {
            let began = now();
            redactor.redact(&line);
            std::time::Duration::from(now() - began)
        });
        fastest.min().unwrap_or_default().as_secs_f64()
    };
    let (few, many) = (took(&redactor(json!("hunter22"))), took(&redactor(json!((0..6).map(large).collect::<Vec<_>>()))));
    assert!(many < 3.0 * few, "{few} s, then {many} s");
}

/// Text that is sixteen times as long may not take a hundred times as long, whatever it contains.
#[test]
fn the_time_grows_with_the_line() {
    let redactor = redactor(json!(["hunter22", "\\\\\\\\a", "%25%25%25", "&amp;&amp;", "aaaaaaaaaaaaaaaa", "x y x y x z"]));
    // The CPU time of this thread alone: others may be busy.
    let now = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    let took = |text: &str, times: usize| {
        let line = text.repeat(times);
        let fastest = (0..3).map(|_| {
            let began = now();
            redactor.redact(&line);
            std::time::Duration::from(now() - began)
        });
        fastest.min().unwrap_or_default().as_secs_f64()
    };
    for text in ["a", "\\", "%25", "&amp;", "%", "\\u0061", "aHVudGVyMjI=", "x y "] {
        let (short, long) = (took(text, 500), took(text, 8_000));
        assert!(long < 100.0 * short.max(1e-4), "{text}: {short} s, then {long} s");
    }
}

/// Regression: every second byte is zero in UTF-16, so it did not match.
#[test]
fn a_secret_in_utf_16_goes() {
    for secret in ["p\"ss w0rd/+x", "p\"ss w0rd/+%41"] {
        let redactor = redactor(json!(secret));
        let little: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = secret.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big] {
            let plain = String::from_utf8(bytes.clone()).unwrap();
            let escaped = |zero: &str| plain.replace('"', "\\\"").replace('\0', zero);
            let digits = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let mut forms = vec![plain.clone(), STANDARD.encode(&bytes), digits];
            // Escapes within the secret can only be undone once the text is bytes again.
            forms.extend(["\\x00", "\\u0000", "\\0"].map(escaped).into_iter().filter(|_| !secret.contains('%')));
            for form in forms {
                let clean = redactor.redact(&format!("<{form}>"));
                assert!(clean.contains(MARK) && clean.len() < 24, "{form:?} became {clean:?}");
            }
        }
    }
}
