//! Messages in the form in which systemd sends them.

use super::*;

/// A message in systemd's form, with an optional number followed by strings.
pub(in crate::host::units) fn message(kind: u8, answers: u32, member: &str, number: Option<u32>, texts: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    number.iter().for_each(|number| body.extend(number.to_le_bytes()));
    texts.iter().for_each(|text| put_text(&mut body, text));
    let mut message = vec![LITTLE_ENDIAN, kind, 0, 1];
    message.extend(length(&body));
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([REPLY_SERIAL, 1, b'u', 0]);
    message.extend(answers.to_le_bytes());
    message.extend([MEMBER, 1, b's', 0]);
    put_text(&mut message, member);
    let fields = length(&message[HEAD..]);
    message[12..HEAD].copy_from_slice(&fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

/// The signal that properties of an object have changed; all values are strings.
pub(in crate::host::units) fn changed(path: &str, properties: &[(&str, &str)]) -> Vec<u8> {
    let mut entries = Vec::new();
    for (name, value) in properties {
        pad(&mut entries, 8);
        put_text(&mut entries, name);
        entries.extend([1, b's', 0]);
        put_text(&mut entries, value);
    }
    let mut body = Vec::new();
    put_text(&mut body, "org.freedesktop.systemd1.Unit");
    pad(&mut body, 4);
    body.extend(length(&entries));
    pad(&mut body, 8);
    body.extend(entries);
    let mut message = vec![LITTLE_ENDIAN, SIGNAL, 0, 1];
    message.extend(length(&body));
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([PATH, 1, b'o', 0]);
    put_text(&mut message, path);
    pad(&mut message, 8);
    message.extend([MEMBER, 1, b's', 0]);
    put_text(&mut message, "PropertiesChanged");
    let fields = length(&message[HEAD..]);
    message[12..HEAD].copy_from_slice(&fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

#[test]
fn a_call_is_encoded_as_the_specification_says() {
    let call = Call { path: "/o", interface: "i.f", member: "M", arguments: &["ab", ""] };
    let encoded = numbered(call.encoded(), 7);
    assert_eq!(&encoded[..12], b"l\x01\x00\x01\x0d\x00\x00\x00\x07\x00\x00\x00");
    assert_eq!(encoded.len() % 8, 5, "a body of 13 bytes after a head that is a multiple of 8");
    assert!(encoded.ends_with(b"\x02\x00\x00\x00ab\x00\x00\x00\x00\x00\x00\x00"));
    let head: [u8; HEAD] = encoded[..HEAD].try_into().unwrap();
    assert_eq!(rest(&head).unwrap(), encoded.len() - HEAD);
    let message = Message::decode(&head, &encoded[HEAD..]).unwrap();
    assert_eq!((message.kind, message.member.as_str()), (CALL, "M"));
    let mut reader = message.reader();
    assert_eq!((reader.text(), reader.text(), reader.text()), (Some("ab"), Some(""), None));
}

#[test]
fn properties_of_any_type_are_passed_by() {
    // An `a{sv}` with: a(sasbttttuii), to be skipped, an empty array of structs; As ["x", "y"]; Job (uo); No b; N i.
    let mut body = vec![0; 8];
    let mut entry = |name: &str, signature: &str, value: &dyn Fn(&mut Vec<u8>)| {
        pad(&mut body, 8);
        put_text(&mut body, name);
        body.push(u8::try_from(signature.len()).unwrap());
        body.extend(signature.bytes());
        body.push(0);
        value(&mut body);
    };
    let number = |body: &mut Vec<u8>, number: u32| {
        pad(body, 4);
        body.extend(number.to_le_bytes());
    };
    entry("Skipped", "a(sasbttttuii)", &|body| {
        number(body, 0);
        pad(body, 8);
    });
    entry("Time", "t", &|body| {
        pad(body, 8);
        body.extend([1; 8]);
    });
    entry("As", "as", &|body| {
        number(body, 14);
        put_text(body, "x");
        put_text(body, "y");
    });
    entry("Job", "(uo)", &|body| {
        pad(body, 8);
        number(body, 12);
        put_text(body, "/j");
    });
    entry("No", "b", &|body| number(body, 0));
    entry("N", "i", &|body| number(body, u32::MAX));
    let count = u32::try_from(body.len() - 8).unwrap();
    body[..4].copy_from_slice(&count.to_le_bytes());

    let found = Reader { bytes: &body, at: 0 }.properties(&["Time", "As", "Job", "No", "N"]).unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let time = "72340172838076673";
    assert_eq!(found, [("Time", time), ("As", "x y"), ("Job", "12\u{1f}/j\u{1f}"), ("No", "no"), ("N", "-1")]);
    for end in 0..body.len() - 1 {
        assert!(Reader { bytes: &body[..end], at: 0 }.properties(&[]).is_none(), "cut off after {end} bytes");
    }
}
