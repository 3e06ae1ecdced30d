//! What an image must not contain of the machine it was made on, where it is, and how it is removed.
//!
//! The complete list is [`TRACES`]. [`mod@find`] searches for them; the other files next to it handle traces that must
//! be read before they can be judged. Nothing that is not in the list is ever removed.

pub(super) mod find;
mod found;
mod homes;
mod keys;
mod machine_id;
mod network;
mod swap;

/// One kind of trace.
#[derive(Debug)]
pub(crate) struct Trace {
    /// The name of the rule, by which a finding can be allowed.
    pub(crate) rule: &'static str,
    /// What it is, as a lower-case fragment, from which follows why it must be removed.
    pub(crate) says: &'static str,
    pub(crate) removal: Removal,
    /// Absolute paths; `~` stands for the home of each user, `~person` for that of each person; `*`
    /// matches within one name.
    pub(crate) at: &'static [&'static str],
}

/// How a trace is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Removes the path with everything below it.
    Whole,
    /// Removes the content of the directory, except for these names; the directory stays.
    Content(&'static [&'static str]),
    /// Empties the file, which stays, with its owner and mode.
    Emptied,
    /// Below the directory, removes journals and rotated logs, empties other files, and keeps directories. So daemons
    /// that may not create their own log still have it as it was installed.
    Logs,
    /// See [`machine_id`].
    MachineId,
    /// Only if EC2 assigned the name; see [`network`].
    Hostname,
    /// Only if a program of the build machine wrote it; see [`network`].
    Resolver,
    /// The sender name of mail, if EC2 assigned it; see [`network`].
    Mailname,
    /// Lines that contain a name assigned by EC2; nothing is removed if that is left to a person. See [`network`].
    Named { goes: bool },
    /// The name of an iSCSI initiator, if it was generated; see [`network`].
    Initiator,
    /// The id that an SNMP agent generated; see [`network`].
    EngineId,
    /// The keys that the launch installed. Other keys must be allowed by the owner of the image. See [`keys`].
    LaunchKeys,
    /// Swap files, with their lines in fstab. See [`swap`].
    Swap,
}

use Removal::{Content, Emptied, EngineId, Hostname, Initiator, LaunchKeys, Logs, MachineId, Mailname, Named, Resolver, Swap, Whole};

const fn trace(rule: &'static str, says: &'static str, removal: Removal, at: &'static [&'static str]) -> Trace {
    Trace { rule, says, removal, at }
}

/// Kept: directories of sockets that each boot creates, and directories of running units.
const HELD: &[&str] =
    &["systemd-private-*", "snap-private-tmp", "snap.*", ".X11-unix", ".ICE-unix", ".XIM-unix", ".font-unix", ".Test-unix"];

/// The names with which apt marks its own directories.
const APT: &[&str] = &["lock", "partial", "auxfiles"];

/// Every trace, in the order in which they are removed.
pub(crate) const TRACES: &[Trace] = &[
    // Anyone with the image could impersonate every instance of it.
    trace("ssh-host-key", "a host key of the build machine", Whole, &["/etc/ssh/ssh_host_*", "/etc/dropbear/dropbear_*_host_key"]),
    trace("authorized-keys", "a key that can log in", LaunchKeys, &["~/.ssh/authorized_keys", "~/.ssh/authorized_keys2"]),
    // Instances with the same machine id get the same DHCP lease, and journals and volumes of the same name.
    trace("machine-id", "the ID of the build machine", MachineId, &["/etc/machine-id"]),
    trace("machine-id", "a copy of the ID of the build machine", Whole, &["/var/lib/dbus/machine-id"]),
    // cloud-init considers an instance that it knows to be configured already.
    trace(
        "cloud-init",
        "cloud-init state",
        Whole,
        &[
            "/var/lib/cloud/instances",
            "/var/lib/cloud/instance",
            "/var/lib/cloud/sem",
            "/var/lib/cloud/data",
            "/var/lib/cloud/seed",
            "/run/cloud-init",
        ],
    ),
    trace(
        "ingot-state",
        "ingot's state of an instance",
        Whole,
        &["/var/lib/ingot", "/run/ingot", "/run/ingot-worker", "/run/credstore", "/opt/elasticbeanstalk/deployment/env"],
    ),
    trace(
        "cfn-init",
        "stack metadata of the build machine",
        Whole,
        &["/var/lib/cfn-init/data", "/var/lib/cfn-init/resume_db.json", "/var/lib/cfn-hup/data"],
    ),
    trace("hostname", "the name that EC2 gave to the build machine", Hostname, &["/etc/hostname"]),
    trace("hostname", "the name that EC2 gave to the build machine, as the mail name", Mailname, &["/etc/mailname"]),
    trace("hostname", "the name that EC2 gave to the build machine", Named { goes: true }, &["/etc/hosts"]),
    trace("hostname", "the name that EC2 gave to the build machine", Named { goes: false }, &["/etc/postfix/main.cf"]),
    // Generated once, when a program was installed or first ran. Two machines with the same id are mistaken for one.
    trace(
        "builder-id",
        "an ID generated by the build machine",
        Whole,
        &[
            "/etc/salt/minion_id",
            "/etc/nvme/hostnqn",
            "/etc/nvme/hostid",
            "/etc/insights-client/machine-id",
            "/var/lib/docker/engine-id",
            "/var/lib/filebeat/meta.json",
            "/var/lib/metricbeat/meta.json",
            "/var/lib/tailscale/tailscaled.state",
            "/var/lib/teleport/host_uuid",
            "/var/lib/zerotier-one/identity.public",
            "/var/lib/zerotier-one/identity.secret",
        ],
    ),
    trace("builder-id", "the iSCSI initiator name of the build machine", Initiator, &["/etc/iscsi/initiatorname.iscsi"]),
    trace(
        "builder-id",
        "the SNMP engine ID of the build machine",
        EngineId,
        &["/var/lib/snmp/snmpd.conf", "/var/lib/net-snmp/snmpd.conf", "/var/lib/net-snmp/snmptrapd.conf"],
    ),
    trace("resolver", "the name servers of the build machine", Resolver, &["/etc/resolv.conf"]),
    trace(
        "dhcp-lease",
        "a DHCP lease of the build machine",
        Whole,
        &[
            "/var/lib/dhcp/*.lease*",
            "/var/lib/dhclient/*",
            "/var/lib/dhcpcd/*.lease*",
            "/var/lib/NetworkManager/*.lease",
            "/var/lib/NetworkManager/secret_key",
            "/var/lib/NetworkManager/timestamps",
            "/var/lib/NetworkManager/seen-bssids",
            "/var/lib/systemd/network/*",
            "/run/systemd/netif",
        ],
    ),
    // These contain the names of the build machine's network cards.
    trace(
        "network-of-builder",
        "network configuration that was generated for the build machine",
        Whole,
        &[
            "/etc/NetworkManager/system-connections/cloud-init-*",
            "/etc/NetworkManager/system-connections/Wired connection *",
            "/etc/netplan/50-cloud-init.yaml",
            "/etc/network/interfaces.d/50-cloud-init*",
            "/etc/systemd/network/10-cloud-init-*",
            "/etc/udev/rules.d/*-persistent-net.rules",
            "/etc/udev/rules.d/*-persistent-cd.rules",
        ],
    ),
    // Each instance would start with the same random seed, and with the same key for its credentials.
    trace(
        "random-seed",
        "a random seed",
        Whole,
        &[
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
            "/boot/efi/loader/random-seed",
            "/boot/loader/random-seed",
            "/efi/loader/random-seed",
        ],
    ),
    trace("credential-secret", "systemd's key for credentials", Whole, &["/var/lib/systemd/credential.secret"]),
    // Except the channels next to it: Packer's session may run through them.
    trace(
        "ssm-registration",
        "the registration of the SSM agent",
        Whole,
        &[
            "/var/lib/amazon/ssm/Vault",
            "/var/lib/amazon/ssm/runtimeconfig",
            "/var/lib/amazon/ssm/*/document",
            "/var/lib/amazon/ssm/*/inventory",
        ],
    ),
    trace(
        "history",
        "a user's history",
        Whole,
        &[
            "~/.*_history",
            "~/.history",
            "~/.local/share/fish/fish_history",
            "~/.lesshst",
            "~/.viminfo",
            "~/.wget-hsts",
            "~/.sudo_as_admin_successful",
            "~/.Xauthority",
            // Except those of services, whose known hosts the bake has installed.
            "~person/.ssh/known_hosts",
            "~person/.ssh/known_hosts.old",
            "/var/lib/sudo/lectured/*",
            "/var/lib/sudo/ts",
            "/var/db/sudo/lectured/*",
            "/run/sudo",
        ],
    ),
    trace("mail", "mail", Emptied, &["/var/mail/*", "/var/spool/mail/*"]),
    trace(
        "crash-dump",
        "crash dumps",
        Content(&[]),
        &["/var/crash", "/var/lib/systemd/coredump", "/var/lib/systemd/pstore", "/var/lib/apport/coredump"],
    ),
    // Except those of services: browsers, models and packages are installed there.
    trace("package-cache", "caches of a user's programs", Whole, &["~person/.cache", "~person/.npm/_cacache", "~/.npm/_logs"]),
    trace(
        "package-cache",
        "packages and lists that can be downloaded again",
        Content(APT),
        &[
            "/var/cache/apt/archives",
            "/var/cache/apt/archives/partial",
            "/var/lib/apt/lists",
            "/var/lib/apt/lists/partial",
            "/var/cache/dnf",
            "/var/cache/libdnf5",
            "/var/cache/yum",
            "/var/cache/pip",
        ],
    ),
    trace("package-cache", "lists that can be rebuilt", Whole, &["/var/cache/apt/*.bin", "/var/cache/debconf/*-old"]),
    trace("package-cache", "the package database before the last change", Whole, &["/var/lib/dpkg/*-old"]),
    trace("swap", "swap of the build machine", Swap, &["/etc/fstab"]),
    trace("temporary", "temporary files", Content(HELD), &["/tmp", "/var/tmp"]),
    trace("log", "logs of the build machine", Logs, &["/var/log"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace that is removed as a whole may not name a directory that a system needs.
    #[test]
    fn nothing_that_a_system_needs_is_in_the_list() {
        for trace in TRACES {
            assert!(!trace.at.is_empty() && !trace.says.ends_with('.'), "{trace:?}");
            for at in trace.at {
                let parts = at.split('/').count();
                assert!(at.starts_with('/') || at.starts_with("~/") || at.starts_with("~person/"), "{at}");
                assert!(!at.contains("..") && !at.contains("**"), "{at}");
                assert!(parts > 2 || trace.removal == Content(HELD) || at.starts_with('~'), "{at}");
            }
        }
    }
}
