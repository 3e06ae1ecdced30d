//! The paths of the proxy's files: all below /run/ingot/proxy, which does not survive a reboot.

use std::path::PathBuf;

use crate::failure::Objection;
use crate::steps::application::slot::Slot;

/// Contains `APP.conf` for each application.
pub(crate) const SITES: &str = "/run/ingot/proxy/sites";

/// Names that no application can have, since its link would conflict with these files.
const TAKEN: [&str; 5] = ["nginx.conf", "nginx.pid", "sites", "slots", "tls"];

/// Maximum length of an application's name: the path of a UNIX socket is limited to 107 bytes, see unix(7), and this
/// leaves a margin.
const LONGEST: usize = 48;

/// What is wrong with an application's name as far as its proxy is concerned. The name is used in paths and in nginx's
/// configuration.
pub(crate) fn name_objection(name: &str) -> Option<Objection> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) {
        let message = format!("`{name}` is not a name for an application behind a proxy");
        return Some(Objection::new(message, "use letters, digits, `-`, `_` and `.`, with no `.` at the front"));
    }
    if name.len() > LONGEST {
        return Some(Objection::new(format!("the name `{name}` is too long"), format!("use at most {LONGEST} characters")));
    }
    TAKEN.contains(&name).then(|| Objection::new(format!("an application cannot be called `{name}`"), "give it another name"))
}

/// A file or directory of the proxy. [`path`](Place::path) returns its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// The configuration of nginx.
    Conf,
    /// The part of the configuration for one application.
    Site(&'a str),
    /// A symbolic link to the slot that serves.
    Current(&'a str),
    /// A slot's directory.
    Slot(&'a str, Slot),
    /// The socket in a slot's directory on which nginx listens.
    Socket(&'a str, Slot),
    /// A symbolic link in a slot's directory to the release.
    Release(&'a str, Slot),
    /// The certificate and its intermediate certificates, in PEM.
    Certificate(&'a str),
    /// Its key, in PEM.
    Key(&'a str),
}

impl Place<'_> {
    pub(crate) fn path(self) -> PathBuf {
        let slot = |name: &str, slot: Slot| format!("slots/{name}-{}", slot.name());
        let below = match self {
            Self::Conf => "nginx.conf".to_owned(),
            Self::Site(name) => return format!("{SITES}/{name}.conf").into(),
            Self::Current(name) => name.to_owned(),
            Self::Slot(name, which) => slot(name, which),
            Self::Socket(name, which) => slot(name, which) + "/http.sock",
            Self::Release(name, which) => slot(name, which) + "/release",
            Self::Certificate(name) => format!("tls/{name}.crt"),
            Self::Key(name) => format!("tls/{name}.key"),
        };
        format!("/run/ingot/proxy/{below}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_below_one_directory() {
        let path = |place: Place<'_>| place.path().to_string_lossy().into_owned();
        assert_eq!(path(Place::Conf), "/run/ingot/proxy/nginx.conf");
        assert_eq!(path(Place::Site("shop")), "/run/ingot/proxy/sites/shop.conf");
        assert_eq!(path(Place::Current("shop")), "/run/ingot/proxy/shop");
        assert_eq!(path(Place::Socket("shop", Slot::A)), "/run/ingot/proxy/slots/shop-a/http.sock");
        assert_eq!(path(Place::Release("shop", Slot::A.other())), "/run/ingot/proxy/slots/shop-b/release");
        assert_eq!(path(Place::Key("shop")), "/run/ingot/proxy/tls/shop.key");
    }

    #[test]
    fn a_name_fits_into_a_path_and_takes_nobodys_place() {
        for name in ["shop", "shop-2", "a.b_c", &"a".repeat(48)] {
            assert_eq!(name_objection(name), None, "{name}");
        }
        for name in ["", ".shop", "..", "a/b", "a b", "a;b", "a\nb", "ü", "sites", "slots", "tls", "nginx.conf", &"a".repeat(49)] {
            assert!(name_objection(name).is_some(), "{name}");
        }
        let longest = Place::Socket(&"a".repeat(LONGEST), Slot::B).path();
        assert!(longest.as_os_str().len() < 107);
    }
}
