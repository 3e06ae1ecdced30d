//! Secrets that span the end of a line: each line is redacted by itself.

use ::base64::Engine as _;
use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::json;

use super::redactor;
use crate::redaction::MARK;

/// Regression: each line is redacted by itself, and both halves of a password were in the log.
#[test]
fn base64_that_is_broken_into_lines_hides_what_goes_over_the_break() {
    let password = "correct-horse/battery+staple=42";
    let redactor = redactor(json!({ "password": password }));
    for width in [60, 64, 76] {
        for before in 0..90 {
            let text = STANDARD.encode(format!("{}{password}{}", "#".repeat(before), "#".repeat(90)));
            let lines: Vec<&str> = text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
            let shown: Vec<String> = lines.iter().map(|line| redactor.redact(line)).collect();
            for part in password.as_bytes().windows(9).flat_map(|part| (0..3).map(move |shift| (part, shift))) {
                // The characters that depend on these bytes only, for each position among three.
                let (part, shift) = part;
                let mut bytes = vec![b'#'; shift];
                bytes.extend(part);
                let all = STANDARD_NO_PAD.encode(&bytes);
                let sure = &all[(shift * 8).div_ceil(6)..bytes.len() * 8 / 6];
                assert!(!shown.iter().any(|line| line.contains(sure)), "{width} {before}: {shown:?} holds {sure}");
            }
        }
    }
    let others = ["c29tZXRoaW5nIGVsc2U=", "constantinople", &"YWJj".repeat(19)];
    for other in others {
        assert_eq!(redactor.redact(other), other);
    }
}

#[test]
fn hexadecimal_that_is_broken_into_lines_hides_what_goes_over_the_break() {
    let password = "correct-horse/battery+staple=42";
    let redactor = redactor(json!({ "password": password }));
    for (width, prefix, apart) in [(16, "", " "), (30, "", ""), (12, "0x", ", ")] {
        for before in 0..width {
            let text = format!("{}{password}{}", "#".repeat(before), "#".repeat(60));
            let digits = |line: &[u8]| line.iter().map(|byte| format!("{prefix}{byte:02x}{apart}")).collect::<String>();
            let shown: Vec<String> = text.as_bytes().chunks(width).map(|line| redactor.redact(&digits(line))).collect();
            for part in password.as_bytes().windows(5) {
                assert!(!shown.iter().any(|line| line.contains(&digits(part))), "{width} {before}: {shown:?} holds {part:?}");
            }
        }
    }
    let others = ["0cc175b9c0f1b6a831c399e269772661", "2026-12-01 12:34:56", "fe80::dead:beef", "arn:aws:x:210987654321"];
    for other in others {
        assert_eq!(redactor.redact(other), other);
    }
}

/// Regression: both the digits and the text next to them were in the log, unless one row contained all of it.
#[test]
fn in_a_dump_of_bytes_a_secret_goes_with_its_digits_and_its_text() {
    let password = "correct-horse/battery+staple=42";
    let redactor = redactor(json!({ "password": password }));
    let hex = |row: &[u8], apart: usize| {
        row.chunks(apart).map(|some| some.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).collect::<Vec<_>>().join(" ")
    };
    let text = |row: &[u8]| row.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }).collect::<String>();
    let swapped =
        |row: &[u8]| row.chunks(2).map(|two| format!("{:02x}{:02x}", two.get(1).unwrap_or(&0), two[0])).collect::<Vec<_>>().join(" ");
    type Format<'a> = &'a dyn Fn(usize, &[u8]) -> String;
    let formats: [(&str, Format); 6] = [
        ("xxd", &|at, row| format!("{at:08x}: {:39}  {}", hex(row, 2), text(row))),
        ("xxd -g1", &|at, row| format!("{at:08x}: {:47}  {}", hex(row, 1), text(row))),
        ("hexdump -C", &|at, row| {
            format!("{at:08x}  {:48}  |{}|", hex(row, 8).replace(' ', "  "), text(row)).replace("  |", " |").replace(" |", "  |")
        }),
        ("od -tx1z", &|at, row| format!("{at:07o} {:47}  >{}<", hex(row, 1), text(row))),
        ("hexdump", &|at, row| format!("{at:07x} {}", swapped(row))),
        ("of a unit", &|at, row| format!("Dec 01 12:00:00 host app[7]: {at:08x}: {:39}  {}", hex(row, 2), text(row))),
    ];
    let wide: Vec<u8> = password.bytes().flat_map(|byte| [byte, 0]).collect();
    for (name, format) in formats {
        for (secret, width) in [(password.as_bytes(), 16), (password.as_bytes(), 8), (&wide, 16)] {
            for before in 0..width {
                let all = [&b"#".repeat(before), secret, &b"#".repeat(40)].concat();
                let rows: Vec<String> = all.chunks(width).enumerate().map(|(row, bytes)| format(row * width, bytes)).collect();
                let shown: Vec<String> = rows.iter().map(|row| redactor.redact(row)).collect();
                assert!(shown.iter().any(|row| row.contains(MARK)), "{name}: {rows:?}");
                for part in password.as_bytes().windows(5).map(|part| std::str::from_utf8(part).unwrap()) {
                    let dotted = part.chars().map(|one| format!("{one}.")).collect::<String>();
                    let left =
                        shown.iter().find(|row| row.contains(part) || row.contains(&hex(part.as_bytes(), 1)) || row.contains(&dotted));
                    assert_eq!(left, None, "{name}, {width} a row, {before} before: {part}");
                }
            }
        }
    }
    for other in ["00000000: 7f45 4c46 0201 0100 0000 0000 0000 0000  .ELF............", "0000000 457f 464c 0102 0001"] {
        assert_eq!(redactor.redact(other), other);
    }
}
