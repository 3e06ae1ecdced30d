//! Mount options, as in mount(8): kernel flags, text for the filesystem, and options that are neither.
//!
//! Source: mount(8), "filesystem-independent mount options", and the table of util-linux' libmount.

use crate::host::mounts::MsFlags;

/// Options, by what they apply to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) flags: MsFlags,
    /// For the filesystem, in the order given.
    pub(super) data: Vec<String>,
    /// The priority of a swap area.
    pub(super) priority: Option<u16>,
    /// Whether `rw` is given explicitly.
    pub(super) writable: bool,
}

/// The flag that a word sets (`true`) or clears.
const FLAGS: &[(&str, MsFlags, bool)] = &[
    ("ro", MsFlags::MS_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, false),
    ("nosuid", MsFlags::MS_NOSUID, true),
    ("suid", MsFlags::MS_NOSUID, false),
    ("nodev", MsFlags::MS_NODEV, true),
    ("dev", MsFlags::MS_NODEV, false),
    ("noexec", MsFlags::MS_NOEXEC, true),
    ("exec", MsFlags::MS_NOEXEC, false),
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("async", MsFlags::MS_SYNCHRONOUS, false),
    ("dirsync", MsFlags::MS_DIRSYNC, true),
    ("mand", MsFlags::MS_MANDLOCK, true),
    ("nomand", MsFlags::MS_MANDLOCK, false),
    ("noatime", MsFlags::MS_NOATIME, true),
    ("atime", MsFlags::MS_NOATIME, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, true),
    ("diratime", MsFlags::MS_NODIRATIME, false),
    ("relatime", MsFlags::MS_RELATIME, true),
    ("norelatime", MsFlags::MS_RELATIME, false),
    ("strictatime", MsFlags::MS_STRICTATIME, true),
    ("nostrictatime", MsFlags::MS_STRICTATIME, false),
    ("lazytime", MsFlags::MS_LAZYTIME, true),
    ("nolazytime", MsFlags::MS_LAZYTIME, false),
    ("iversion", MsFlags::MS_I_VERSION, true),
    ("noiversion", MsFlags::MS_I_VERSION, false),
    ("silent", MsFlags::MS_SILENT, true),
    ("loud", MsFlags::MS_SILENT, false),
    ("bind", MsFlags::MS_BIND, true),
    ("rbind", MsFlags::MS_BIND, true),
];

/// Words for programs that read /etc/fstab; the kernel does not know them.
const FOR_FSTAB: &[&str] = &["defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group"];

impl Options {
    /// Parses options, each of which may be a comma-separated list.
    ///
    /// # Errors
    ///
    /// The option that is invalid here, and what to do.
    pub(super) fn parse(options: &[String]) -> Result<Self, (String, &'static str)> {
        let mut parsed = Self { flags: MsFlags::empty(), data: Vec::new(), priority: None, writable: false };
        for word in options.iter().flat_map(|option| words(option)) {
            if let Some((_, flag, set)) = FLAGS.iter().find(|(name, ..)| *name == word) {
                parsed.flags.set(*flag, *set);
                if *flag == MsFlags::MS_RDONLY {
                    parsed.writable = !*set;
                }
                if word == "rbind" {
                    parsed.flags.insert(MsFlags::MS_REC);
                }
                continue;
            }
            match word.as_str() {
                "remount" | "move" => {
                    return Err((format!("`{word}` is not an option of a new mount"), "remove it: ingot remounts by itself"));
                }
                "shared" | "private" | "slave" | "unbindable" | "rshared" | "rprivate" | "rslave" | "runbindable" => {
                    return Err((
                        format!("`{word}` is about propagation, which ingot leaves as it is"),
                        "set it in a command with `mount --make-…`",
                    ));
                }
                "loop" => return Err(("`loop` needs a loop device, which ingot does not create".into(), "mount it with a command")),
                word if FOR_FSTAB.contains(&word) || word.starts_with("x-") || word.starts_with("X-") || word.starts_with("comment=") => {}
                "" => {}
                word => match word.strip_prefix("pri=") {
                    Some(priority) => match priority.parse() {
                        Ok(priority @ 0..=32767) => parsed.priority = Some(priority),
                        _ => return Err((format!("`{word}` is not a swap priority"), "write a number from 0 to 32767")),
                    },
                    None => parsed.data.push(word.to_owned()),
                },
            }
        }
        Ok(parsed)
    }

    /// The words for flags.
    pub(super) fn names(flags: MsFlags) -> Vec<&'static str> {
        FLAGS.iter().filter(|(_, flag, set)| *set && flags.contains(*flag)).map(|(name, ..)| *name).collect()
    }

    pub(super) fn is_bind(&self) -> bool {
        self.flags.contains(MsFlags::MS_BIND)
    }

    /// The words to set: options that are asked for and missing, as far as they belong to a single mount and not to its
    /// filesystem. Options that were not asked for are ignored.
    pub(super) fn missing(&self, present: &[String]) -> Vec<&'static str> {
        let own =
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME | MsFlags::MS_NODIRATIME;
        let set = FLAGS.iter().filter(|(_, flag, set)| *set && own.contains(*flag) && self.flags.contains(*flag));
        let mut missing: Vec<&str> = set.map(|(name, ..)| *name).filter(|name| !present.iter().any(|present| present == name)).collect();
        // The kernel makes a damaged filesystem read-only, and it stays so unless `rw` is given explicitly.
        if self.writable && !self.flags.contains(MsFlags::MS_RDONLY) && present.iter().any(|present| present == "ro") {
            missing.push("rw");
        }
        missing
    }
}

/// Splits at commas, except those within quotes: SELinux contexts contain commas.
fn words(option: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in option.chars() {
        quoted ^= character == '"';
        match character {
            ',' if !quoted => words.push(String::new()),
            character => words.last_mut().expect("there is one at least").push(character),
        }
    }
    words.into_iter().map(|word| word.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn sorts_options_by_who_takes_them() {
        let options = parse(&["noatime,nodev", "logbufs=8", "nofail", "x-systemd.automount", "defaults", "discard"]);
        assert_eq!(options.flags, MsFlags::MS_NOATIME | MsFlags::MS_NODEV);
        assert_eq!(options.data, ["logbufs=8", "discard"]);
        assert_eq!(parse(&["ro", "rw"]).flags, MsFlags::empty(), "the last one counts");
        assert_eq!(parse(&["rbind"]).flags, MsFlags::MS_BIND | MsFlags::MS_REC);
        assert_eq!(parse(&["pri=5"]).priority, Some(5));
        assert_eq!(parse(&[r#"context="system_u:object_r:tmp_t:s0:c1,c2",ro"#]).data, [r#"context="system_u:object_r:tmp_t:s0:c1,c2""#]);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for option in ["remount", "shared", "loop", "pri=-1"] {
            assert!(Options::parse(&[option.to_owned()]).is_err(), "{option}");
        }
    }

    #[test]
    fn misses_only_what_was_asked_for() {
        let present = ["rw", "nosuid", "relatime"].map(str::to_owned);
        assert_eq!(parse(&["noatime", "nosuid"]).missing(&present), ["noatime"]);
        assert_eq!(parse(&["ro"]).missing(&present), ["ro"]);
        assert_eq!(parse(&["rw"]).missing(&["ro".to_owned()]), ["rw"]);
        assert!(parse(&[]).missing(&["ro".to_owned()]).is_empty(), "it may be damaged");
        assert!(parse(&["logbufs=8"]).missing(&present).is_empty());
    }
}
