//! Mistakes on the command line, each with its message, its hint and its exit code, and the
//! command after following the hint.
//!
//! The format of the rows in `usage.txt`:
//!
//! ```text
//! == a command that is misspelled
//! $ ingot chekc boot.yaml                     a line of bash, in a directory with the files of `desk`
//! > 2                                         its exit code
//! ! error: unrecognized subcommand 'chekc'    its message
//! ? tip: a similar subcommand exists: 'check' each hint
//! =
//! $ ingot check boot.yaml                     the command that follows the hint, which succeeds
//! ```
#![expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and makes the files it is run on")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::program::{Ingot, Ran, tests, write};

const DOCUMENT: &str = "#ingot\nversion: 1\nfiles: { /etc/motd: { content: \"hello\\n\" } }\n";

/// A shell function that runs `$0` as a user who is not root.
const SHELL: &str = r#"
ingot() { "$0" "$@"; }
as_nobody() {
  [ "$(id -u)" = 0 ] || { ingot "$@"; return; }
  setpriv --reuid 65534 --regid 65534 --clear-groups ./ingot "$@"
}
"#;

/// The prefixes of lines with hints.
const HINTS: [&str; 4] = ["tip: ", "hint: ", "[possible values: ", "For more information, try "];

/// One mistake.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) code: String,
    pub(crate) said: Vec<String>,
    after: String,
}

/// The title of the table, and its rows.
pub(crate) fn rows() -> (String, Vec<Row>) {
    let text = text();
    let (title, rest) = text.strip_prefix("# ").and_then(|text| text.split_once('\n')).expect("it begins with its title");
    (title.to_owned(), rest.split("\n== ").skip(1).map(row).collect())
}

fn text() -> String {
    fs::read_to_string(tests().join("cli/usage.txt")).expect("it is there")
}

fn row(text: &str) -> Row {
    let (name, rest) = text.split_once('\n').expect("a row has a name");
    let (before, after) = rest.split_once("\n=\n").expect("a row has a command after it");
    let one = |sign: &str| before.lines().find_map(|line| line.strip_prefix(sign)).unwrap_or_default().to_owned();
    let said = before.lines().filter(|line| line.starts_with(['!', '?'])).map(str::to_owned).collect();
    let after = after.trim_end().strip_prefix("$ ").expect("it is a command").to_owned();
    Row { name: name.to_owned(), command: one("$ "), code: one("> "), said, after }
}

/// A directory with everything that commands refer to: documents, layers, facts, and files that are none of these.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    let path = |name: &str| desk.path().join(name);
    write(&path("boot.yaml"), DOCUMENT);
    write(&path("layers/10-motd.yaml"), DOCUMENT);
    write(&path("rendered/etc/motd"), "hello\n");
    write(&path("release/Procfile"), "web: ./serve\n");
    write(&path("facts.yaml"), "instance: { id: i-0123456789abcdef0 }\n");
    write(&path("empty.yaml"), "");
    write(&path("secret.yaml"), DOCUMENT);
    fs::write(path("binary.yaml"), [0x1b, 0xff, 0x00, 0x9d]).unwrap();
    fs::create_dir(path("empty")).unwrap();
    for (name, mode) in [(".", 0o755), ("secret.yaml", 0o000), ("layers", 0o555)] {
        fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
    }
    desk
}

fn run(line: &str, desk: &Path) -> Ran {
    let own = desk.join("ingot");
    if line.contains("as_nobody") && !own.exists() {
        // The binary may be in a directory that only its builder can access.
        let binary = env!("CARGO_BIN_EXE_ingot");
        fs::hard_link(binary, &own).or_else(|_| fs::copy(binary, &own).map(drop)).unwrap();
    }
    Ingot::in_a_shell(&format!("{SHELL}{line}"), desk)
}

/// The message, which is the first line that is not a hint, and every hint.
fn said(ran: &Ran, desk: &Path) -> Vec<String> {
    let all = format!("{}\n{}", ran.stderr, ran.stdout).replace(&format!("{}/", desk.display()), "");
    let hint = |line: &str| HINTS.iter().any(|begin| line.starts_with(begin));
    let lines: Vec<&str> = all.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut message = lines.iter().filter(|line| !hint(line));
    // clap lists what is missing on the next line.
    let message = message.next().map(|line| match line.ends_with(':') {
        true => format!("! {line} {}", message.next().unwrap_or(&"")),
        false => format!("! {line}"),
    });
    let hints = lines.iter().filter(|line| hint(line)).map(|line| format!("? {}", line.strip_prefix("hint: ").unwrap_or(line)));
    message.into_iter().chain(hints).collect()
}

#[test]
fn each_mistake_of_usage_says_what_to_do() {
    let is_update = std::env::var_os(super::UPDATE).is_some();
    let (mut wrong, mut all) = (Vec::new(), text());
    for row in rows().1 {
        let desk = desk();
        let ran = run(&row.command, desk.path());
        let (code, said) = (ran.code.map_or("none".to_owned(), |code| code.to_string()), said(&ran, desk.path()));
        assert_ne!(code, "0", "{}: {ran}", row.name);
        if is_update {
            let head = format!("\n== {}\n", row.name);
            let (before, rest) = all.split_once(&head).expect("the row is there");
            let (_, after) = rest.split_once("\n=\n").expect("a row has a command after it");
            all = format!("{before}{head}$ {}\n> {code}\n{}\n=\n{after}", row.command, said.join("\n"));
        } else if (&code, &said) != (&row.code, &row.said) {
            wrong.push(format!("{}: expected {}\n{}\nfound\n{ran}", row.name, row.code, row.said.join("\n")));
        }
    }
    if is_update {
        write(&tests().join("cli/usage.txt"), &all);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_hint_of_usage_leads_to_a_command_that_succeeds() {
    let mut wrong = Vec::new();
    for row in rows().1 {
        let desk = desk();
        let is_own_report = row.after.contains("report.json");
        let before = if is_own_report { run("ingot boot --root root --user-data boot.yaml", desk.path()).code } else { Some(0) };
        let ran = run(&row.after, desk.path());
        if (before, ran.code) != (Some(0), Some(0)) {
            wrong.push(format!("{}\n{ran}", row.name));
        }
        // A command that follows a hint has to contain what the hint says to write: one of the
        // words that the hint quotes.
        for hint in row.said.iter().filter(|said| said.starts_with("? tip: ") || said.starts_with("? write ")) {
            let is_whole = |word: &&str| !word.contains("NAME@") && !word.contains('*');
            let quoted: Vec<&str> = hint.split(['`', '\'']).skip(1).step_by(2).filter(is_whole).collect();
            if !quoted.is_empty() && !quoted.iter().any(|word| row.after.contains(word)) {
                wrong.push(format!("{}: {} has nothing of {hint}", row.name, row.after));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
