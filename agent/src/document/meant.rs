//! The likely meaning of an unknown key: a misspelling, or another tool's word for a known key.

use crate::failure::nearest;

/// Words of other tools: the word, a known key of the map that contains it, and what to write, empty for that key
/// itself. The first match is used.
const ELSEWHERE: [(&str, &str, &str); 50] = [
    ("users", "commands", "create users while the image is built"),
    ("groups", "commands", "create groups while the image is built"),
    ("packages", "commands", "install packages while the image is built"),
    ("runcmd", "commands", RUNCMD),
    ("bootcmd", "commands", RUNCMD),
    ("write_files", "files", "write each below `files:`, as in `/etc/motd: { content: hello }`"),
    ("hostname", "commands", "run `hostnamectl` below `commands:`"),
    ("timezone", "commands", "run `timedatectl` below `commands:`"),
    ("ssh_authorized_keys", "files", "write the file `authorized_keys` below `files:`"),
    ("variables", "values", ""),
    ("parameters", "secrets", ""),
    ("units", "services", ""),
    ("shell", "run", SHELL),
    ("script", "run", SHELL),
    ("sh", "run", SHELL),
    ("command", "run", "write `run: [PROGRAM, ARGUMENT, …]`"),
    ("cmd", "run", "write `run: [PROGRAM, ARGUMENT, …]`"),
    ("user", "as", ""),
    ("user", "owner", ""),
    ("env", "environment", ""),
    ("cwd", "working_directory", ""),
    ("chdir", "working_directory", ""),
    ("workdir", "working_directory", ""),
    ("directory", "working_directory", ""),
    ("permissions", "mode", ""),
    ("chmod", "mode", ""),
    ("src", "template", ""),
    ("source", "template", ""),
    ("text", "content", ""),
    ("data", "content", ""),
    ("path", "content", "write the path as the key, as in `/etc/motd: { content: hello }`"),
    ("dest", "into", ""),
    ("path", "into", ""),
    ("ssm", "parameter", ""),
    ("name", "secrets_manager", ""),
    ("id", "secrets_manager", ""),
    ("arn", "secrets_manager", ""),
    ("secret", "secrets_manager", ""),
    ("snapshot", "from", "write `from: { snapshot: … }`"),
    ("volume", "from", "write `from: { volume: … }`"),
    ("size", "size_gib", ""),
    ("fstype", "filesystem", ""),
    ("fstype", "type", ""),
    ("source", "device", ""),
    ("url", "http", ""),
    ("port", "tcp", "write `tcp: \"127.0.0.1:8080\"`, with its port"),
    ("command", "exec", ""),
    ("unit", "tcp", "leave out `ready`: without it, the unit must be active"),
    ("depends_on", "after", ""),
    ("if", "when", ""),
];

const RUNCMD: &str = "write each below `commands:`, as in `NAME: { run: [PROGRAM, ARGUMENT, …] }`";

const SHELL: &str = "write `run: [/bin/sh, -c, \"…\"]`";

/// The hint for the key `name` in a map that only knows `known`.
pub(crate) fn hint(name: &str, known: &[&str]) -> String {
    let elsewhere = ELSEWHERE.iter().find(|(word, key, _)| *word == name && known.contains(key));
    match (nearest(name, known.iter().copied()), elsewhere) {
        (_, Some((_, key, ""))) => format!("write `{key}:`"),
        (_, Some((_, _, hint))) => (*hint).to_owned(),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => format!("expected one of: {}", known.join(", ")),
    }
}
