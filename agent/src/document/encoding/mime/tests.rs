//! MIME messages: what is read from them, and what is refused.

use super::super::{UserData, recognise};
use super::*;
use crate::failure::Explanation;

fn message(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut message = b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=XX\n\n".to_vec();
    for (headers, body) in parts {
        message.extend([b"--XX\n", headers.as_bytes(), b"\n\n", body, b"\n"].concat());
    }
    [message.as_slice(), b"--XX--\n"].concat()
}

fn parts_of(message: &[u8]) -> Vec<(String, String)> {
    match recognise(message).unwrap() {
        UserData::Documents(parts) => parts.into_iter().map(|part| (part.name, part.text)).collect(),
        UserData::CloudConfig(_) | UserData::Other { .. } => Vec::new(),
    }
}

fn explain(message: &[u8]) -> String {
    Explanation::of(&recognise(message).unwrap_err()).to_string()
}

#[test]
fn a_message_is_known_by_its_headers() {
    for text in [
        "Content-Type: multipart/mixed; boundary=\"a\"",
        "MIME-VERSION: 1.0\r\ncontent-type: text/x-ingot",
        "From: me\nNumber-Attachments: 1\nContent-Type: multipart/mixed;\n  boundary=a\n\n",
    ] {
        assert!(is_message(text.as_bytes()), "{text}");
    }
    for text in ["", "\nMIME-Version: 1.0", "a b: c\nMIME-Version: 1.0", "from: me\n\nMIME-Version: 1.0", "version: 1\nvalues: {}"] {
        assert!(!is_message(text.as_bytes()), "{text}");
    }
}

#[test]
fn text_keeps_its_bytes_whatever_its_charset_says() {
    let text = "#ingot\r\nname: café\r\n";
    let message = message(&[("Content-Type: TEXT/X-Ingot; charset=\"iso-8859-1\"", text.as_bytes())]);
    assert_eq!(parts_of(&message), [("user data, part 1".into(), text.into())]);
}

#[test]
fn a_message_may_be_a_single_part() {
    let message = b"Content-Type: text/x-ingot; name=a.yaml\nMIME-Version: 1.0\n\nversion: 1\n";
    assert_eq!(parts_of(message), [("user data (a.yaml)".into(), "version: 1\n".into())]);
}

#[test]
fn delimiters_are_lines_of_their_own() {
    let text = "#ingot\na: x --XX\n--XXX\n--XX-\n- --XX--\n";
    assert_eq!(parts_of(&message(&[("Content-Type: text/x-ingot", text.as_bytes())])), [("user data, part 1".into(), text.into())]);
}

/// ingot must not fail on binary parts that are for cloud-init.
#[test]
fn parts_of_others_are_not_looked_at() {
    let message = message(&[
        ("Content-Type: application/octet-stream", b"\x1f\x8b\xff"),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: base64", b"!"),
        ("", b"hello\n"),
        ("Content-Type: text/x-ingot", b"#ingot\n"),
    ]);
    assert_eq!(parts_of(&message), [("user data, part 4".into(), "#ingot\n".into())]);
}

#[test]
fn a_file_name_stays_on_its_line() {
    let headers = format!("Content-Type: text/x-ingot\nContent-Disposition: attachment; filename=\"a\u{1b}[0m{}\"", "x".repeat(200));
    let parts = parts_of(&message(&[(&headers, b"#ingot\n")]));
    assert_eq!(parts[0].0, format!("user data, part 1 (a[0m{})", "x".repeat(60)));
}

#[test]
fn what_is_wrong_with_a_part_names_the_part() {
    let with = |headers: &str, body: &[u8]| explain(&message(&[("Content-Type: text/x-shellscript", b"#!"), (headers, body)]));

    insta::assert_snapshot!(with("Content-Type: text/x-ingot; name=db.yaml", b"#ingot\na: \xff"), @r"
    user data, part 2 (db.yaml) is not UTF-8 at byte 10
      hint: save user data, part 2 (db.yaml) as UTF-8
    ");
    insta::assert_snapshot!(with("Content-Type: text/x-ingot\nContent-Transfer-Encoding: base64", b"a: 1"), @r"
    user data, part 2 is base64 that is damaged or cut short: it ends within a byte, or contains characters that are not base64
      hint: encode it again with `base64 --wrap=0 FILE`, and send the whole output
    ");
    insta::assert_snapshot!(with("Content-Type: text/x-ingot\nContent-Transfer-Encoding: quoted-printable", b"a=4"), @r"
    user data, part 2 is quoted-printable that is damaged or cut short: what follows an `=` is not a byte in hexadecimal
      hint: send the part as it is, with `Content-Transfer-Encoding: 8bit`
    ");
    insta::assert_snapshot!(with("Content-Type: text/x-ingot\nContent-Transfer-Encoding: uuencode", b"a"), @r"
    user data, part 2 is a broken MIME message: its Content-Transfer-Encoding is unknown
      hint: make it with `cloud-init devel make-mime` or Terraform's cloudinit_config, not by hand
    ");
    insta::assert_snapshot!(with("Content-Type: text/x-ingot", b"\x1f\x8b"), @r"
    user data, part 2 is gzip that is damaged or cut short: unexpected end of file
      hint: create it again with `gzip --stdout FILE`, and send the bytes unchanged
    ");
    insta::assert_snapshot!(with("Content-Type: multipart/mixed", b"#ingot"), @r"
    user data is a broken MIME message: a multipart has no boundary
      hint: make it with `cloud-init devel make-mime` or Terraform's cloudinit_config, not by hand
    ");
    insta::assert_snapshot!(with("Content-Type: multipart/mixed; boundary=YY", b"#ingot"), @r"
    user data is a broken MIME message: a multipart has no parts
      hint: make it with `cloud-init devel make-mime` or Terraform's cloudinit_config, not by hand
    ");
}

#[test]
fn a_message_cut_short_is_an_error() {
    let whole = message(&[("Content-Type: text/x-ingot", b"#ingot\nversion: 1\n"), ("Content-Type: text/x-ingot", b"#ingot\na: 1\n")]);
    let documents = recognise(&whole).unwrap();
    let first_part = whole.windows(4).position(|window| window == b"--XX").unwrap() + "--XX\n".len();
    for length in first_part..whole.len() {
        match recognise(&whole[..length]) {
            Err(_) => {}
            // Truncated between two parts, it is the message that AWS documented, whose last delimiter does not close.
            Ok(cut) => assert!(cut == documents || whole[..length].trim_ascii_end().ends_with(b"--XX"), "at {length}"),
        }
    }
}

#[test]
fn multiparts_nest_only_so_deep() {
    let nested = |depth: usize| {
        (0..depth).fold(b"Content-Type: text/x-ingot\n\n#ingot\n".to_vec(), |inner, level| {
            [
                format!("Content-Type: multipart/mixed; boundary=B{level}\n\n--B{level}\n").as_bytes(),
                &inner,
                format!("\n--B{level}--\n").as_bytes(),
            ]
            .concat()
        })
    };
    assert_eq!(parts_of(&nested(8)), [("user data, part 1".into(), "#ingot\n".into())]);
    assert!(explain(&nested(9)).contains("nested too deeply"));
    assert!(recognise(&nested(5000)).is_err());
}

/// Each part alone is within the limit.
#[test]
fn all_parts_share_the_limit() {
    let half = [b"#ingot\n".as_slice(), &[b'#'; (8 << 20) - 7]].concat();
    let (part, more) = (("Content-Type: text/x-ingot", half.as_slice()), ("Content-Type: text/x-ingot", b"#".as_slice()));
    assert_eq!(documents(&message(&[part, part]), 16 << 20).unwrap().len(), 2);
    assert!(matches!(documents(&message(&[part, part, more]), 16 << 20), Err(EncodingError::TooLarge { .. })));
}

#[test]
fn refuses_headers_without_end() {
    let headers = format!("Content-Type: text/x-ingot\nX: {}", "x".repeat(MAX_HEADERS));
    assert!(explain(&message(&[(&headers, b"#ingot")])).contains("headers are too long"));
}
