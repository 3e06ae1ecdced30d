//! Checks whether `host` can be the name or address of a host, before any lookup.
//!
//! Only what no resolver will ever answer is an error. DNS may not know the name of a database that was just created,
//! so ingot waits for a name that is merely unknown. Underscores, which host names should not contain but those in
//! container networks do, and non-ASCII letters are left to the resolver.

use std::net::{IpAddr, Ipv6Addr};

use crate::failure::Objection;
use crate::template::{Scope, Template};
use crate::text::Text;

/// Maximum length of a label in bytes. Below: that of a name without its final dot.
///
/// Source: RFC 1035, section 2.3.4.
const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 253;

/// Stands for a reference while only the text around it is checked.
const SOMETHING: &str = "\u{1}";

/// The host as used for the connection: an IPv6 address without its brackets.
///
/// # Errors
///
/// What is wrong with it. A possible password in a URL is not repeated.
pub(super) fn checked(host: &str) -> Result<&str, Objection> {
    let wrong = |message: String, hint: String| Err(Objection { message, hint });
    if host.trim().is_empty() {
        return wrong("`host` is empty".into(), "write the name or address of the database's host".into());
    }
    nothing_but_a_host(host)?;
    if host.contains(char::is_whitespace) {
        let bare: String = host.split_whitespace().collect();
        return wrong(format!("`host` contains a space: {host:?}"), format!("write `host: {bare}`"));
    }
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let Some((address, rest)) = bracketed.filter(|(address, _)| address.parse::<Ipv6Addr>().is_ok()) {
        return if rest.is_empty() { Ok(address) } else { with_port(address, rest.trim_start_matches(':')) };
    }
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host);
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') => with_port(name, port),
        Some(_) => wrong(format!("{host} is not an IPv6 address"), "correct `host`; a zone, such as %eth0, is not supported".into()),
        None => name(host).map(|()| host),
    }
}

/// Rejects text that no host can contain, whatever the references next to it stand for.
fn nothing_but_a_host(host: &str) -> Result<(), Objection> {
    let wrong = |message: &str, hint: String| Err(Objection::new(message, hint));
    if let Some((_, rest)) = host.split_once("://") {
        return wrong("`host` is a URL", instead_of_url(rest));
    }
    if host.starts_with('/') {
        return wrong("`host` is a path", "write a host name: databases are reached over TCP, not over a socket in a directory".into());
    }
    if host.contains(['@', '/']) {
        return wrong("`host` contains more than a host", instead_of_url(host));
    }
    Ok(())
}

/// Mistakes in a `host` that can be found before its references are known, and that no value can fix.
pub(super) fn objection(host: &Text) -> Option<Objection> {
    if host.is_plain() {
        return checked(host.raw()).err();
    }
    let template = Template::parse(host.raw()).ok()?;
    let mut scope = Scope::new();
    template.references().iter().for_each(|reference| scope.insert(&reference.segments, SOMETHING.into()));
    let rendered = template.render(&scope).ok()?;
    around_references(rendered.expose()).err()
}

/// Parts of a name or address may come from values; only the text around them is checked.
fn around_references(host: &str) -> Result<(), Objection> {
    nothing_but_a_host(host)?;
    if host.contains(char::is_whitespace) {
        return Err(Objection::new("`host` contains a space", "remove the space"));
    }
    let outside = host.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(host, |(_, rest)| rest);
    match outside.split_once(':') {
        // A value may supply the rest of an address.
        Some((name, port)) if port.contains(SOMETHING) && may_be_group(name) => Ok(()),
        Some((name, port)) if !port.contains(':') => with_port(name, port).map(drop),
        _ => Ok(()),
    }
}

/// Whether an IPv6 address in use may begin with this text. `db1` and `cafe` are more likely names: routed addresses
/// begin with four digits, the first of which is 2 or 3, and local ones with `fc`, `fd` or `fe80`. Text that consists
/// of decimal digits only is not a name.
///
/// Source: <https://www.iana.org/assignments/ipv6-address-space/ipv6-address-space.xhtml>.
fn may_be_group(text: &str) -> bool {
    let is_group = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let begins = |begins: &[&str]| begins.iter().any(|begin| text.to_ascii_lowercase().starts_with(begin));
    let is_in_use = text.len() == 4 && begins(&["2", "3", "fc", "fd", "fe80"]);
    is_group && (is_in_use || text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn with_port(host: &str, port: &str) -> Result<&'static str, Objection> {
    let message = if port.contains(SOMETHING) { "`host` ends with a port".into() } else { format!("`host` ends with a port, `:{port}`") };
    let host = if host.is_empty() || host.contains(SOMETHING) { "the host" } else { host };
    Err(match port.parse::<u16>() {
        Ok(port) if port > 0 => Objection::new(message, format!("keep {host} in `host`, and add `port: {port}`")),
        _ => Objection::new(message, format!("keep {host} in `host`, and write the port as `port: 5432`")),
    })
}

/// What to write instead of a URL, given without its `scheme://`. User and password are left out.
fn instead_of_url(rest: &str) -> String {
    let authority = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let authority = authority.split(['/', '?', ' ']).next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => (host, Some(port)),
        _ => (authority, None),
    };
    let fields = match (checked(host), port) {
        (Ok(host), Some(port)) => format!("write `host: {host}` and `port: {port}`"),
        (Ok(host), None) => format!("write `host: {host}`"),
        (Err(_), _) => "write the host name alone".into(),
    };
    format!("{fields}; user, password and database go into the secret of `credentials`")
}

/// Whether a name is possible in DNS or in /etc/hosts.
fn name(name: &str) -> Result<(), Objection> {
    let wrong = |why: String| Err(Objection::new(format!("{name} cannot be a host name: {why}"), "correct `host`"));
    // An absolute name ends with a dot.
    let labels = name.strip_suffix('.').unwrap_or(name);
    if labels.len() > LONGEST_NAME {
        return wrong(format!("it is longer than {LONGEST_NAME} characters"));
    }
    for label in labels.split('.') {
        if label.is_empty() {
            return wrong("a part between two dots is empty".into());
        }
        if label.len() > LONGEST_LABEL {
            return wrong(format!("a part between two dots is longer than {LONGEST_LABEL} characters"));
        }
        if let Some(other) = label.chars().find(|c| !c.is_alphanumeric() && !matches!(c, '-' | '_')) {
            return wrong(format!("it contains {other:?}"));
        }
    }
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) {
        return wrong("it ends with a number, but is not an IPv4 address".into());
    }
    // Source: RFC 6761, section 6.4.
    if last.eq_ignore_ascii_case("invalid") {
        return wrong("names that end with .invalid never resolve".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_and_addresses() {
        for (host, meant) in [
            ("db", "db"),
            ("db.example.internal", "db.example.internal"),
            ("db.example.internal.", "db.example.internal."),
            ("my_db", "my_db"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("bücher.example", "bücher.example"),
            ("3com.example", "3com.example"),
            ("10.0.0.7", "10.0.0.7"),
            ("fd00::7", "fd00::7"),
            ("[fd00::7]", "fd00::7"),
            ("::1", "::1"),
        ] {
            assert_eq!(checked(host), Ok(meant));
        }
    }

    #[test]
    fn refuses_what_never_resolves_and_says_what_to_write() {
        let (long, longer) = ("a".repeat(64), format!("{}.example", "ab.".repeat(90)));
        for (host, message, hint) in [
            ("", "`host` is empty", "write the name"),
            (" ", "`host` is empty", "write the name"),
            ("db:5432", "`host` ends with a port, `:5432`", "keep db in `host`, and add `port: 5432`"),
            ("10.0.0.7:5432", "`host` ends with a port", "keep 10.0.0.7 in `host`, and add `port: 5432`"),
            ("[fd00::7]:5432", "`host` ends with a port", "keep fd00::7 in `host`, and add `port: 5432`"),
            ("db:", "`host` ends with a port", "keep db in `host`, and write the port as"),
            ("db:0", "`host` ends with a port", "keep db in `host`, and write the port as"),
            ("db:postgres", "`host` ends with a port", "keep db in `host`, and write the port as"),
            ("postgres://shop:hunter2@db.internal:5433/shop", "`host` is a URL", "write `host: db.internal` and `port: 5433`; user"),
            ("jdbc:mysql://db.internal/shop", "`host` is a URL", "write `host: db.internal`; user"),
            ("postgres://[fd00::7]/", "`host` is a URL", "write `host: fd00::7`; user"),
            ("postgres://", "`host` is a URL", "write the host name alone"),
            ("shop:hunter2@db.internal:5432", "`host` contains more", "write `host: db.internal` and `port: 5432`"),
            ("db.internal/shop", "`host` contains more", "write `host: db.internal`"),
            ("/var/run/postgresql", "`host` is a path", "write a host name"),
            (" db.internal ", "`host` contains a space", "write `host: db.internal`"),
            ("db.internal\n", "`host` contains a space", "write `host: db.internal`"),
            ("fe80::1%eth0", "fe80::1%eth0 is not an IPv6 address", "correct `host`"),
            ("[db.internal]", "[db.internal] cannot be", "correct `host`"),
            (".db.internal", ".db.internal cannot be", "correct `host`"),
            ("db..internal", "db..internal cannot be", "correct `host`"),
            ("db.internal..", "db.internal.. cannot be", "correct `host`"),
            (".", ". cannot be", "correct `host`"),
            (long.as_str(), "aaa", "correct `host`"),
            (longer.as_str(), "ab.", "correct `host`"),
            ("db,internal", "db,internal cannot be", "correct `host`"),
            ("*.internal", "*.internal cannot be", "correct `host`"),
            ("10.0.0", "10.0.0 cannot be", "correct `host`"),
            ("300.0.0.1", "300.0.0.1 cannot be", "correct `host`"),
            ("5432", "5432 cannot be", "correct `host`"),
            ("db.INVALID", "db.INVALID cannot be", "correct `host`"),
        ] {
            let objection = checked(host).unwrap_err();
            assert!(objection.message.starts_with(message) && objection.hint.starts_with(hint), "{host}: {objection:?}");
            assert!(!objection.message.contains("hunter2") && !objection.hint.contains("hunter2"), "{objection:?}");
        }
    }

    #[test]
    fn sees_a_port_behind_a_reference() {
        for (host, found) in [
            ("{{values.db}}", false),
            ("{{values.db}}.internal", false),
            ("db-{{values.env}}.internal", false),
            ("{{values.db}}:5432", true),
            ("db.{{values.domain}}:{{values.port}}", true),
            ("[{{values.db}}]:5432", true),
            ("postgres://{{values.db}}/shop", true),
            ("{{values.db}}/shop", true),
            ("{{values.db}} .internal", true),
            // A value can make these valid.
            ("10.0.{{values.n}}.5", false),
            ("{{values.net}}.5", false),
            ("fd00::{{values.n}}", false),
            ("fd00:{{values.rest}}", false),
            ("2001:{{values.rest}}", false),
            ("fdab:{{values.rest}}", false),
            ("db:{{values.port}}", true),
            ("db1:{{values.port}}", true),
            ("db01:{{values.port}}", true),
            ("a1:{{values.port}}", true),
            ("feed:{{values.port}}", true),
            ("64:{{values.rest}}", false),
            ("2a05:{{values.rest}}", false),
            ("FE80:{{values.rest}}", false),
            ("fd00:{{values.n}}{{values.rest}}", false),
            ("[{{values.address}}]", false),
        ] {
            let objection = objection(&Text::new(host));
            assert_eq!(objection.is_some(), found, "{host}");
            assert!(!format!("{objection:?}").contains("\\u{1}"), "{objection:?}");
        }
    }
}
