//! Which units a service may be, judged by their names.

use crate::failure::Objection;

/// Unit types that are either up or down. Source: systemd.unit(5).
const KINDS: [&str; 6] = ["service", "socket", "target", "timer", "path", "mount"];

/// Unit types that can be reloaded. Source: systemctl(1).
const RELOADED: [&str; 2] = ["service", "mount"];

/// Maximum length of a unit name in bytes. Source: systemd.unit(5).
const LONGEST: usize = 255;

/// Whether a character is allowed in a unit name. Source: systemd.unit(5).
fn is_of_a_unit(character: char) -> bool {
    character.is_ascii_alphanumeric() || ":-_.\\@".contains(character)
}

/// What is wrong with `key` as the name of a unit that is to be started.
pub(super) fn objection(key: &str) -> Option<Objection> {
    let no_unit = || {
        // A path, or a type alone, cannot be made a valid name by changing its type.
        let name = key.trim_end_matches('.').trim_start_matches('.').rsplit('/').next().unwrap_or_default();
        let has_type = name.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind));
        let hint = match name {
            name if has_type => format!("write the name alone, as in `{name}`"),
            "" | "service" => "write a name with its type, as in `shop.service`".to_owned(),
            name => format!("write the name with its type, as in `{name}.service`"),
        };
        Some(Objection::new(format!("`{key}` is not the name of a unit"), hint))
    };
    if key.len() > LONGEST {
        let message = format!("the name of this unit is {} bytes long, and systemd accepts at most {LONGEST}", key.len());
        return Some(Objection::new(message, "shorten it"));
    }
    let Some((stem, kind)) = key.rsplit_once('.').filter(|(stem, _)| !stem.is_empty() && !key.contains('/')) else {
        return no_unit();
    };
    if let Some(wrong) = key.chars().find(|character| !is_of_a_unit(*character)) {
        let message = format!("`{key}` is not the name of a unit: it holds `{wrong}`");
        return Some(Objection::new(message, "use only letters, digits and : - _ . @ \\; the name of a step is not a template"));
    }
    let instead = match kind {
        "automount" => format!("use `mounts:`, or name {stem}.mount"),
        "swap" => "use `mounts:` with `type: swap`".to_owned(),
        "slice" => "name the services in the slice".to_owned(),
        "scope" => "name the service that creates the scope".to_owned(),
        "device" => "use `volumes:` to wait for a disk, or add `After=` to the unit that needs the device".to_owned(),
        _ if !KINDS.contains(&kind) => return no_unit(),
        _ => {
            return stem.ends_with('@').then(|| {
                let hint = format!("name an instance, such as `{stem}main.{kind}`");
                Objection::new(format!("{key} is a template unit, which cannot be started without an instance"), hint)
            });
        }
    };
    Some(Objection::new(format!("{key} cannot be a service: ingot does not start {kind} units"), instead))
}

/// What is wrong with `reload_on` for a unit of this name.
pub(super) fn reload_objection(key: &str) -> Option<Objection> {
    let kind = key.rsplit_once('.')?.1;
    let cannot = KINDS.contains(&kind) && !RELOADED.contains(&kind);
    cannot.then(|| {
        Objection::new(format!("{key} cannot be reloaded: {kind} units have no reload"), "use `restart_on:` instead of `reload_on:`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_a_unit_can_be_started() {
        for name in [
            "a.service",
            "a@b.service",
            "a-b.socket",
            "srv-data.mount",
            "multi-user.target",
            "a@b@c.timer",
            "x.y.path",
            "srv-a\\x20b.mount",
            "a:b_c.service",
        ] {
            assert_eq!(objection(name), None, "{name}");
        }
        for (name, says) in [
            ("a", "`a` is not the name of a unit"),
            (".service", "`.service` is not the name of a unit"),
            ("a/b.service", "`a/b.service` is not the name of a unit"),
            ("a b.service", "`a b.service` is not the name of a unit: it holds ` `"),
            ("{{values.a}}.service", "`{{values.a}}.service` is not the name of a unit: it holds `{`"),
            ("ä.service", "`ä.service` is not the name of a unit: it holds `ä`"),
            ("a.srvice", "`a.srvice` is not the name of a unit"),
            ("a@.service", "a@.service is a template unit, which cannot be started without an instance"),
            ("srv.automount", "srv.automount cannot be a service: ingot does not start automount units"),
            ("dev-sdf.swap", "dev-sdf.swap cannot be a service: ingot does not start swap units"),
            ("a.slice", "a.slice cannot be a service: ingot does not start slice units"),
        ] {
            assert_eq!(objection(name).unwrap().message, says);
        }
        let long = |length: usize| format!("{}.service", "a".repeat(length - 8));
        assert_eq!(objection(&long(255)), None);
        assert!(objection(&long(256)).unwrap().message.ends_with("is 256 bytes long, and systemd accepts at most 255"));
    }

    #[test]
    fn the_hint_is_a_name() {
        for (name, hint) in [
            ("a", "write the name with its type, as in `a.service`"),
            ("a.", "write the name with its type, as in `a.service`"),
            (".service", "write a name with its type, as in `shop.service`"),
            ("/etc/systemd/system/a.service", "write the name alone, as in `a.service`"),
            ("x/a", "write the name with its type, as in `a.service`"),
        ] {
            assert_eq!(objection(name).unwrap().hint, hint, "{name}");
        }
    }

    #[test]
    fn only_some_kinds_can_be_reloaded() {
        assert!(reload_objection("a.service").is_none() && reload_objection("srv.mount").is_none());
        assert_eq!(reload_objection("a.timer").unwrap().message, "a.timer cannot be reloaded: timer units have no reload");
    }
}
