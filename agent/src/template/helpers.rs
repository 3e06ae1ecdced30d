//! The helpers that a template may call, and their results.
//!
//! | call | gives |
//! |---|---|
//! | `toml x` `json x` `yaml x` | the value in that format, including lists and maps |
//! | `shell x` `env x` `ini x` `url x` `xml x` `properties x` `pgpass x` | a string, number or boolean in that format |
//! | `env x "docker"` `ini x "mysql"` … | the same for one reader of that format |
//! | `base64 x` `unbase64 x` | a string, number or boolean in base64, and back |
//! | `join list separator` `split x separator` | the items of a list in one string, and back |
//! | `concat x y…` `replace x from to` `trim x` | another string |
//! | `lookup map key` | the value at a key that is itself computed |
//! | `default x fallback` | `x`, or `fallback` if `x` is missing or null |
//! | `has x` | whether `x` exists and is not null |
//! | `eq a b` `ne a b` `not x` `and x y…` `or x y…` | true or false |
//!
//! [`quote`] writes each format, and [`strings`] transforms strings. `default`, `has`, `and`, `or` and `lookup` do not
//! need all of their arguments, so the [renderer](super::render) evaluates those itself.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::quote::{self, env::env, ini::ini, pgpass::pgpass, properties::properties, url::url, xml::xml};
use super::refusal::Refusal;
use super::scope::{Buffer, Wiped};
use super::strings;
use crate::number;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    Toml,
    Json,
    Yaml,
    Shell,
    Env,
    Ini,
    Url,
    Xml,
    Properties,
    Pgpass,
    Base64,
    Unbase64,
    Join,
    Split,
    Concat,
    Replace,
    Trim,
    Lookup,
    Default,
    Has,
    Eq,
    Ne,
    Not,
    And,
    Or,
}

/// Every helper: its name, its number of arguments, and their description for messages.
const HELPERS: [(Helper, &str, RangeInclusive<usize>, &str); 25] = [
    (Helper::Toml, "toml", 1..=1, "one value"),
    (Helper::Json, "json", 1..=1, "one value"),
    (Helper::Yaml, "yaml", 1..=1, "one value"),
    (Helper::Shell, "shell", 1..=1, "one value"),
    (Helper::Env, "env", 1..=2, "one value, and at most one reader: \"systemd\", \"dotenv\" or \"docker\""),
    (Helper::Ini, "ini", 1..=2, "one value, and at most one reader: \"python\", \"mysql\" or \"git\""),
    (Helper::Url, "url", 1..=1, "one value"),
    (Helper::Xml, "xml", 1..=1, "one value"),
    (Helper::Properties, "properties", 1..=1, "one value"),
    (Helper::Pgpass, "pgpass", 1..=1, "one value"),
    (Helper::Base64, "base64", 1..=1, "one value"),
    (Helper::Unbase64, "unbase64", 1..=1, "one value"),
    (Helper::Join, "join", 2..=2, "a list and a separator"),
    (Helper::Split, "split", 2..=2, "a string and a separator"),
    (Helper::Concat, "concat", 1..=usize::MAX, "one value or more"),
    (Helper::Replace, "replace", 3..=3, "a string, what to replace in it, and the replacement"),
    (Helper::Trim, "trim", 1..=1, "one value"),
    (Helper::Lookup, "lookup", 2..=2, "a map or a list, and a key"),
    (Helper::Default, "default", 2..=2, "a value and what to use if it is missing"),
    (Helper::Has, "has", 1..=1, "one path"),
    (Helper::Eq, "eq", 2..=2, "two values"),
    (Helper::Ne, "ne", 2..=2, "two values"),
    (Helper::Not, "not", 1..=1, "one value"),
    (Helper::And, "and", 2..=usize::MAX, "two values or more"),
    (Helper::Or, "or", 2..=usize::MAX, "two values or more"),
];

impl Helper {
    pub(super) fn named(name: &str) -> Option<Self> {
        HELPERS.iter().find(|(_, known, ..)| *known == name).map(|(helper, ..)| *helper)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        HELPERS.iter().map(|(_, name, ..)| *name)
    }

    fn signature(self) -> &'static (Helper, &'static str, RangeInclusive<usize>, &'static str) {
        // The table is in the order of the enum, which a test checks.
        &HELPERS[self as usize]
    }

    pub(super) fn name(self) -> &'static str {
        self.signature().1
    }

    pub(super) fn takes(self, arguments: usize) -> bool {
        self.signature().2.contains(&arguments)
    }

    /// Describes its arguments, for messages.
    pub(super) fn arguments(self) -> &'static str {
        self.signature().3
    }

    /// Whether it writes a value for a format so that nothing in the value has a special meaning there.
    pub(super) fn quotes(self) -> bool {
        use Helper::*;
        matches!(self, Toml | Json | Yaml | Shell | Env | Ini | Url | Xml | Properties | Pgpass | Base64)
    }

    /// Whether its result is always true or false.
    pub(super) fn decides(self) -> bool {
        matches!(self, Self::Has | Self::Eq | Self::Ne | Self::Not | Self::And | Self::Or)
    }

    /// Whether its result is text in which its arguments may not occur in their original form.
    pub(super) fn transforms(self) -> bool {
        use Helper::*;
        matches!(self, Url | Xml | Properties | Pgpass | Base64 | Unbase64 | Join | Split | Concat | Replace | Trim)
    }

    /// Calls the helper with arguments that all exist. The result is never so large that another helper could not be
    /// called with it: a helper that quotes may write several bytes for one.
    pub(super) fn call(self, arguments: &[&Value]) -> Result<Wiped, Refusal> {
        let made = self.make(arguments)?;
        Refusal::beyond_limit(made.value().as_str().map_or(0, str::len)).map(|()| made)
    }

    fn make(self, arguments: &[&Value]) -> Result<Wiped, Refusal> {
        let [first, rest @ ..] = arguments else { return Ok(Value::Null.into()) };
        let second = rest.first().copied().unwrap_or(&Value::Null);
        let quoted = |write: fn(&Value, &mut Buffer) -> Result<(), Refusal>| {
            let mut out = Buffer::new();
            write(first, &mut out).map(|()| out.into_value())
        };
        let quoted_for = |write: fn(&Value, Option<&Value>, &mut Buffer) -> Result<(), Refusal>| {
            let mut out = Buffer::new();
            write(first, rest.first().copied(), &mut out).map(|()| out.into_value())
        };
        match self {
            Self::Toml => quoted(quote::toml),
            Self::Json => quoted(quote::json),
            Self::Yaml => quoted(quote::yaml),
            Self::Shell => quoted(quote::shell),
            Self::Env => quoted_for(env),
            Self::Ini => quoted_for(ini),
            Self::Url => quoted(url),
            Self::Xml => quoted(xml),
            Self::Properties => quoted(properties),
            Self::Pgpass => quoted(pgpass),
            Self::Base64 => quoted(strings::base64),
            Self::Unbase64 => quoted(strings::unbase64),
            Self::Join => join(first, second),
            Self::Split => strings::split(first, second),
            Self::Concat => strings::concat(arguments),
            Self::Replace => strings::replace(first, second, rest.get(1).copied().unwrap_or(&Value::Null)),
            Self::Trim => strings::trim(first),
            Self::Eq => Ok(equal(first, second).into()),
            Self::Ne => Ok((!equal(first, second)).into()),
            Self::Not => Ok((!is_truthy(first, false)).into()),
            // The renderer evaluates these; it calls this only with the arguments it has.
            Self::And => Ok(arguments.iter().all(|argument| is_truthy(argument, false)).into()),
            Self::Or => Ok(arguments.iter().any(|argument| is_truthy(argument, false)).into()),
            Self::Has => Ok((!first.is_null()).into()),
            Self::Default => Ok(if first.is_null() { second.clone() } else { Value::clone(first) }.into()),
            Self::Lookup => Ok(look_up(first, second).cloned().unwrap_or(Value::Null).into()),
        }
    }
}

/// Truth as in Handlebars: everything is true except null, false, zero, and the empty string, list and map.
pub(super) fn is_truthy(value: &Value, include_zero: bool) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => include_zero || !number::is_zero(number),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The value at `key` in a map or a list.
pub(super) fn look_up<'a>(within: &'a Value, key: &Value) -> Option<&'a Value> {
    match (within, key) {
        (Value::Object(map), Value::String(key)) => map.get(key),
        (Value::Object(map), Value::Number(key)) => map.get(key.as_str()),
        (Value::Array(list), Value::Number(key)) => list.get(usize::try_from(number::whole(key.as_str())?).ok()?),
        (Value::Array(list), Value::String(key)) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Numbers are compared exactly, regardless of notation: 1, 1.0 and 0x1 are equal; "1" and 1 are not.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number::equal(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b))),
        _ => a == b,
    }
}

fn join(list: &Value, separator: &Value) -> Result<Wiped, Refusal> {
    let Value::Array(items) = list else { return Err(Refusal::of_type(list, "a list")) };
    let Value::String(separator) = separator else { return Err(Refusal::of_type(separator, "a string as its separator").at(1)) };
    let mut out = Buffer::new();
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push_str(separator);
        }
        let text = quote::scalar(item).map_err(|_| Refusal::of_content("has an item that is not a string, number or boolean"))?;
        Refusal::beyond_limit(out.len().saturating_add(separator.len()).saturating_add(text.len()))?;
        out.push_str(&text);
    }
    Ok(out.into_value())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(name: &str, arguments: &[Value]) -> Result<Value, Refusal> {
        let arguments: Vec<&Value> = arguments.iter().collect();
        Helper::named(name).unwrap().call(&arguments).map(|made| made.value().clone())
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (n, (helper, name, ..)) in HELPERS.iter().enumerate() {
            assert_eq!((*helper as usize, helper.name()), (n, *name));
        }
    }

    #[test]
    fn joins_strings_numbers_and_booleans() {
        assert_eq!(call("join", &[json!(["a", 1, true]), json!(", ")]), Ok(json!("a, 1, true")));
        assert_eq!(call("join", &[json!([]), json!(",")]), Ok(json!("")));
    }

    #[test]
    fn join_refuses_what_is_no_list_and_lists_of_lists() {
        assert_eq!(call("join", &[json!("a"), json!(",")]), Err(Refusal::of_type(&json!("a"), "a list")));
        assert!(call("join", &[json!([["a"]]), json!(",")]).is_err());
        assert!(call("join", &[json!([null]), json!(",")]).is_err());
        assert_eq!(call("join", &[json!(["a"]), json!(1)]).unwrap_err().argument, 1);
    }

    #[test]
    fn what_becomes_too_large_is_refused() {
        let refused = Err(Refusal::of_content("becomes larger than 16 MiB").hint("use a shorter text"));
        assert_eq!(call("join", &[json!(vec!["a"; 4_000]), json!("b".repeat(5_000))]), refused);
        assert_eq!(call("url", &[json!(" ".repeat(6 << 20))]), refused);
        assert_eq!(call("json", &[json!("\"".repeat(9 << 20))]), refused);
    }

    #[test]
    fn base64_has_padding_and_no_line_breaks() {
        assert_eq!(call("base64", &[json!("a:b")]), Ok(json!("YTpi")));
        assert_eq!(call("base64", &[json!("ü")]), Ok(json!("w7w=")));
        assert_eq!(call("base64", &[json!("x".repeat(300))]).unwrap().as_str().unwrap().len(), 400);
    }

    #[test]
    fn equality_knows_types_but_not_notations() {
        for (a, b, expected) in
            [(json!(1), json!(1.0), true), (json!("1"), json!(1), false), (json!(null), json!(null), true), (json!([1]), json!([1]), true)]
        {
            assert_eq!(call("eq", &[a.clone(), b.clone()]), Ok(json!(expected)));
            assert_eq!(call("ne", &[a, b]), Ok(json!(!expected)));
        }
        // Two large integers that map to the same float are still different.
        assert_eq!(call("eq", &[json!(u64::MAX), json!(u64::MAX - 1)]), Ok(json!(false)));
    }

    #[test]
    fn looks_up_keys_and_indices() {
        assert_eq!(look_up(&json!({"a b": 1}), &json!("a b")), Some(&json!(1)));
        assert_eq!(look_up(&json!([7, 8]), &json!(1)), Some(&json!(8)));
        assert_eq!(look_up(&json!([7, 8]), &json!("x")), None);
        assert_eq!(look_up(&json!("text"), &json!(0)), None);
    }
}
