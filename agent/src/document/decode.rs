//! Turns a [`Node`] into typed values, and finds every mistake on the way, not only the first.
//!
//! serde stops at the first error. Therefore a value that cannot be read is recorded and set aside, and the whole node
//! is read again without it, until the reading succeeds or nothing is left to set aside. Unknown keys need no second
//! reading: the names of a struct's fields are known before its map is read.

mod error;
mod forms;
mod reader;
mod reading;
mod wording;

use serde::de::DeserializeOwned;

use self::error::DecodeError;
use self::reader::Reader;
use self::reading::{Apart, ROOT, Reading};
use crate::document::error::Mistake;
use crate::document::tree::Node;

/// Reads `node` as a `T`. `None` if it has mistakes, which are then in `mistakes`.
pub fn decode<T: DeserializeOwned>(node: &Node, mistakes: &mut Vec<Mistake>) -> Option<T> {
    decode_without(node, &[], mistakes)
}

/// The same, but reads only these keys of the outermost map.
pub(crate) fn decode_part<T: DeserializeOwned>(node: &Node, keys: &[&'static str], mistakes: &mut Vec<Mistake>) -> Option<T> {
    decode_apart(node, Apart::AllBut(keys), mistakes)
}

/// The same, but skips the keys `apart` of the outermost map, which are read elsewhere.
pub(crate) fn decode_without<T: DeserializeOwned>(node: &Node, apart: &[&'static str], mistakes: &mut Vec<Mistake>) -> Option<T> {
    decode_apart(node, Apart::These(apart), mistakes)
}

fn decode_apart<T: DeserializeOwned>(node: &Node, apart: Apart<'_>, mistakes: &mut Vec<Mistake>) -> Option<T> {
    let mut value = None;
    let is_clean = read(node, apart, mistakes, &mut |reader| T::deserialize(reader).map(|read| value = Some(read)));
    value.filter(|_| is_clean)
}

/// The part of decoding that is the same for all types. Returns whether there was no mistake.
fn read(node: &Node, apart: Apart<'_>, mistakes: &mut Vec<Mistake>, take: &mut dyn FnMut(Reader<'_>) -> Result<(), DecodeError>) -> bool {
    let mut reading = Reading::new(apart);
    let mut found: Vec<Mistake> = Vec::new();
    loop {
        let root = reading.begin(node);
        let Err(error) = take(Reader { at: root, reading: &reading, is_verbatim: false }) else { break };
        let (number, mistake) = error.found(root, &reading);
        found.extend(mistake);
        if number == ROOT || !reading.set_aside(number) {
            break;
        }
    }
    reading.tell_unknown(&mut found);
    let is_clean = found.is_empty();
    mistakes.append(&mut found);
    is_clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tree::parse;
    use crate::text::Text;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        run: Vec<Text>,
        #[serde(default)]
        once: Once,
        limit: Option<crate::step::fields::TimeLimit>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Once {
        #[default]
        Instance,
        Always,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    fn read(text: &str) -> (Option<Sample>, Vec<String>) {
        let node = parse(&"x".into(), text).0.unwrap();
        let mut mistakes = Vec::new();
        let value = decode_without(&node, &["after"], &mut mistakes);
        let lines = mistakes.into_iter().map(|m| format!("{}: {} ({})", m.place.unwrap(), m.message, m.hint.unwrap_or_default()));
        (value, lines.collect())
    }

    #[test]
    fn reads_what_is_right_and_gives_texts_their_place() {
        let (value, mistakes) = read("run: [a, 'b']\nonce: always\nafter: whatever\n");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(value.unwrap().run[1].place().unwrap().to_string(), "x:1:10");
    }

    #[test]
    fn finds_every_mistake_of_one_value() {
        let (value, mistakes) = read("run: [a, 5, True]\nonce: allways\nlimit: soon\ninner: {nam: x}\nrum: [a]\n");
        assert_eq!(value, None);
        insta::assert_snapshot!(mistakes.join("\n"), @r#"
        x:2:7: `allways` is not one of instance, always (did you mean `always`?)
        x:3:8: `soon` is not a duration (write a number and its unit, as in 90s, 20m or 1h30m)
        x:4:9: unknown key `nam` (did you mean `name`?)
        x:5:1: unknown key `rum` (did you mean `run`?)
        "#);
    }

    /// Regression: a boot refused docker's templates because of a word after them.
    #[test]
    fn braces_of_other_programs_are_no_references() {
        for (name, is_wrong) in [
            ("docker ps --format '{{.Names}}' > names; helm template . -f values.yaml", false),
            ("{{.Values.values.x}}", false),
            ("{{ values.x", false),
            ("a {{ values.x }}", true),
            ("{{~{secrets.x}}}", true),
        ] {
            let (value, mistakes) = read(&format!("run: [a]\ninner: {{ name: {name:?} }}\n"));
            assert_eq!((value.is_none(), mistakes.len()), (is_wrong, usize::from(is_wrong)), "{name}: {mistakes:?}");
        }
        let node = parse(&"x".into(), "build: [['echo {{values.x}}']]\n").0.unwrap();
        let mut mistakes = Vec::new();
        assert!(decode_without::<Builds>(&node, &["after"], &mut mistakes).is_some(), "{mistakes:?}");
    }

    #[derive(Debug, Deserialize)]
    struct Builds {
        #[expect(dead_code, reason = "only whether it can be read counts")]
        build: Vec<Vec<String>>,
    }

    #[test]
    fn a_colon_in_a_value_does_not_split_the_message() {
        let (_, mistakes) = read("run: [a]\nlimit: 'a: b'\n");
        assert_eq!(mistakes, ["x:2:8: `a: b` is not a duration (write a number and its unit, as in 90s, 20m or 1h30m)"]);
    }

    #[test]
    fn mistakes_after_a_value_that_was_set_aside_are_found() {
        let (_, mistakes) = read("inner: {name: [x, {y: z}], nam: 1}\nrun: [{a: [b]}, c, 5]\nlimit: soon\n");
        insta::assert_snapshot!(mistakes.join("\n"), @r#"
        x:1:15: expected a string, found a list (write a string)
        x:2:7: expected a string, found a map (write a string)
        x:3:8: `soon` is not a duration (write a number and its unit, as in 90s, 20m or 1h30m)
        x:1:28: unknown key `nam` (did you mean `name`?)
        "#);
    }

    #[test]
    fn does_not_call_missing_what_was_only_wrong() {
        let (_, mistakes) = read("run: 5\n");
        assert_eq!(mistakes, ["x:1:6: expected a list, found a number (write a list: [ … ])"]);
    }
}
