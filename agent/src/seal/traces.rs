//! What an image must not hold of the machine it was made on, where that lies, and how it goes.
//!
//! The whole list is [`TRACES`]. What is found is in [`mod@find`]; what has to be read before it can be judged, in the other
//! files beside it. Nothing that is not in the list is ever removed.

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
    /// The rule by which it can be allowed.
    pub(crate) rule: &'static str,
    /// What it is, as a lower-case fragment; why it has to go follows from it.
    pub(crate) says: &'static str,
    pub(crate) removal: Removal,
    /// Absolute paths, `~` for the home of each user, `~person` for that of each person; `*` for parts of one name.
    pub(crate) at: &'static [&'static str],
}

/// How a trace goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The path itself, with all that is below.
    Whole,
    /// What is in the directory, but for these names; the directory stays.
    Content(&'static [&'static str]),
    /// The content of the file; the file stays, with its owner and mode.
    Emptied,
    /// Below the directory: journals and rotated logs go, other files are emptied, directories stay. Daemons that may
    /// not create their own log find it as it was installed.
    Logs,
    /// See [`machine_id`].
    MachineId,
    /// Only where the name is one that EC2 gave; see [`network`].
    Hostname,
    /// Only where a program of the build machine wrote it; see [`network`].
    Resolver,
    /// The name that mail comes from, if it is one that EC2 gave; see [`network`].
    Mailname,
    /// The lines with a name that EC2 gave, or none if that is for a person; see [`network`].
    Named { goes: bool },
    /// The name of an iSCSI initiator, if it was made up; see [`network`].
    Initiator,
    /// The id that an SNMP agent made up; see [`network`].
    EngineId,
    /// The keys that the launch put there. Others are for the owner of the image to allow. See [`keys`].
    LaunchKeys,
    /// Swap files, with their lines in fstab. See [`swap`].
    Swap,
}

use Removal::{Content, Emptied, EngineId, Hostname, Initiator, LaunchKeys, Logs, MachineId, Mailname, Named, Resolver, Swap, Whole};

const fn trace(rule: &'static str, says: &'static str, removal: Removal, at: &'static [&'static str]) -> Trace {
    Trace { rule, says, removal, at }
}

/// Files below the directories of sockets that each boot makes anew stay; so does what a running unit has of its own.
const HELD: &[&str] =
    &["systemd-private-*", "snap-private-tmp", "snap.*", ".X11-unix", ".ICE-unix", ".XIM-unix", ".font-unix", ".Test-unix"];

/// Names with which apt marks its own directories.
const APT: &[&str] = &["lock", "partial", "auxfiles"];

/// Every trace, in the order in which they are removed.
pub(crate) const TRACES: &[Trace] = &[
    // Whoever has the image could stand in for every instance of it.
    trace("ssh-host-key", "a host key of the build machine", Whole, &["/etc/ssh/ssh_host_*", "/etc/dropbear/dropbear_*_host_key"]),
    trace("authorized-keys", "a key that may log in", LaunchKeys, &["~/.ssh/authorized_keys", "~/.ssh/authorized_keys2"]),
    // Instances with one machine id get one DHCP lease, and journals and volumes of the same name.
    trace("machine-id", "the id of the build machine", MachineId, &["/etc/machine-id"]),
    trace("machine-id", "a copy of the id of the build machine", Whole, &["/var/lib/dbus/machine-id"]),
    // cloud-init takes an instance that it knows for one that is set up.
    trace(
        "cloud-init",
        "state of cloud-init",
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
        "what ingot knows of an instance",
        Whole,
        &["/var/lib/ingot", "/run/ingot", "/run/ingot-worker", "/run/credstore", "/opt/elasticbeanstalk/deployment/env"],
    ),
    trace(
        "cfn-init",
        "metadata of the stack of the build machine",
        Whole,
        &["/var/lib/cfn-init/data", "/var/lib/cfn-init/resume_db.json", "/var/lib/cfn-hup/data"],
    ),
    trace("hostname", "the name that EC2 gave to the build machine", Hostname, &["/etc/hostname"]),
    trace("hostname", "the name that EC2 gave to the build machine, as that mail comes from", Mailname, &["/etc/mailname"]),
    trace("hostname", "the name that EC2 gave to the build machine", Named { goes: true }, &["/etc/hosts"]),
    trace("hostname", "the name that EC2 gave to the build machine", Named { goes: false }, &["/etc/postfix/main.cf"]),
    // Made up once, when a program was installed or first ran. Whoever meets two machines of one id takes them for one.
    trace(
        "builder-id",
        "an id that the build machine made up",
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
    trace("builder-id", "the name of the iSCSI initiator of the build machine", Initiator, &["/etc/iscsi/initiatorname.iscsi"]),
    trace(
        "builder-id",
        "the id of the SNMP agent of the build machine",
        EngineId,
        &["/var/lib/snmp/snmpd.conf", "/var/lib/net-snmp/snmpd.conf", "/var/lib/net-snmp/snmptrapd.conf"],
    ),
    trace("resolver", "the name servers of the build machine", Resolver, &["/etc/resolv.conf"]),
    trace(
        "dhcp-lease",
        "a lease of the build machine",
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
    // They name the build machine's network cards.
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
    // Each instance would begin with the same randomness, and with the same key for its credentials.
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
    trace("credential-secret", "the key of systemd's credentials", Whole, &["/var/lib/systemd/credential.secret"]),
    // Not the channels beside: the session through which Packer works may run through them.
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
        "a history of what a person did",
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
            // Whom a service knows, the bake has told it.
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
        "dumps of programs that crashed",
        Content(&[]),
        &["/var/crash", "/var/lib/systemd/coredump", "/var/lib/systemd/pstore", "/var/lib/apport/coredump"],
    ),
    // Not those of services: browsers, models and packages are installed there.
    trace("package-cache", "caches of a person's programs", Whole, &["~person/.cache", "~person/.npm/_cacache", "~/.npm/_logs"]),
    trace(
        "package-cache",
        "packages and lists that can be fetched again",
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
    trace("package-cache", "lists that can be made again", Whole, &["/var/cache/apt/*.bin", "/var/cache/debconf/*-old"]),
    trace("package-cache", "the state before the last package", Whole, &["/var/lib/dpkg/*-old"]),
    trace("swap", "swap of the build machine", Swap, &["/etc/fstab"]),
    trace("temporary", "files that were to be temporary", Content(HELD), &["/tmp", "/var/tmp"]),
    trace("log", "logs of the build machine", Logs, &["/var/log"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What removes a whole path may not name a directory that a system cannot be without.
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
