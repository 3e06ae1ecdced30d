//! Documents with mistakes, each with its place, its message and its hint, and the document after following the hint.
//!
//! A file of `mistakes/` begins with its title. The format of its rows:
//!
//! ```text
//! == a tab as indentation                                      name of the mistake
//! files:                                                       document, after `#ingot` and `version: 1` if without
//! @>  /etc/a: { content: x }                                   a mark: the mistake is at the character after it
//! + templates/a.hbs                                            another file: a template, or one more document
//! ! this is not YAML: a tab is in the indentation              the messages, each with its hint
//! ? indent with spaces
//! =
//! files:                                                       the document that follows the hints
//! ```

#![expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and writes its expectations anew")]

mod program;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use program::{Ingot, Ran, tests, write};

/// Marks the place of a mistake in a document: the character after it.
const MARK: &str = "@>";

/// The name of a row's document, if it gives none.
const DOCUMENT: &str = "boot.yaml";

/// If set, the messages and the page are rewritten, to be reviewed before they are committed.
const UPDATE: &str = "INGOT_UPDATE_DOCS";

/// Files by their path.
type Files = BTreeMap<String, String>;

/// One mistake, or several in one document.
#[derive(Debug, Default, Clone)]
struct Row {
    name: String,
    before: Files,
    after: Files,
    said: Vec<String>,
}

/// The rows of one file.
struct Group {
    path: PathBuf,
    title: String,
    rows: Vec<Row>,
}

fn groups() -> Vec<Group> {
    let directory = tests().join("cli/mistakes");
    let mut paths: Vec<PathBuf> = program::tree(&directory).into_keys().map(|path| directory.join(&path[1..])).collect();
    paths.sort();
    paths.into_iter().map(group).collect()
}

fn group(path: PathBuf) -> Group {
    let text = read(&path);
    let (title, rest) = text.strip_prefix("# ").and_then(|text| text.split_once('\n')).expect("a file begins with its title");
    let rows = rest.split("\n== ").skip(1).map(row).collect();
    Group { title: title.to_owned(), path, rows }
}

fn row(text: &str) -> Row {
    let mut lines = text.lines();
    let mut row = Row { name: lines.next().unwrap_or_default().to_owned(), ..Row::default() };
    let (mut is_after, mut file) = (false, DOCUMENT.to_owned());
    for line in lines {
        let files = if is_after { &mut row.after } else { &mut row.before };
        match line {
            "=" => (is_after, file) = (true, DOCUMENT.to_owned()),
            _ if line.starts_with("! ") || line.starts_with("? ") => row.said.push(line.to_owned()),
            _ => match line.strip_prefix("+ ") {
                Some(name) => file = name.to_owned(),
                None => files.entry(file.clone()).or_default().extend([line, "\n"]),
            },
        }
    }
    for files in [&mut row.before, &mut row.after] {
        for (name, text) in files {
            let text_without_end = text.trim_end_matches('\n');
            let head = if name == DOCUMENT && !text.starts_with("#ingot") { "#ingot\nversion: 1\n" } else { "" };
            *text = format!("{head}{text_without_end}\n");
        }
    }
    row
}

/// The files without marks, and the marked places.
fn unmarked(files: &Files) -> (Files, BTreeSet<String>) {
    let mut places = BTreeSet::new();
    let clean = files.iter().map(|(name, text)| {
        let lines = text.lines().enumerate().map(|(n, line)| {
            let mut line = line.to_owned();
            while let Some(at) = line.find(MARK) {
                places.insert(format!("{}:{}:{}", shown(name), n + 1, line[..at].chars().count() + 1));
                line.replace_range(at..at + MARK.len(), "");
            }
            line + "\n"
        });
        (name.clone(), lines.collect())
    });
    (clean.collect(), places)
}

/// A template is shown with its path in the image.
fn shown(name: &str) -> String {
    if name.starts_with("templates/") { format!("/etc/ingot/{name}") } else { name.to_owned() }
}

fn check(files: &Files) -> Ran {
    let desk = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| write(&desk.path().join(name), text));
    let documents = files.keys().filter(|name| !name.starts_with("templates/"));
    Ingot::new(["check", "--json"]).args(documents).directory(desk.path()).run()
}

/// Each mistake: its place, its message and its hint.
fn mistakes(ran: &Ran) -> Vec<(String, String, String)> {
    let json = ran.json();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mistakes = json["mistakes"].as_array().unwrap_or_else(|| panic!("{ran}")).iter();
    let place = |one: &serde_json::Value| ["file", "line", "column"].map(|field| text(&one[field])).join(":");
    mistakes.map(|one| (place(one), text(&one["message"]), text(&one["hint"]))).collect()
}

#[test]
fn each_mistake_is_found_where_it_is_and_says_what_to_do() {
    let mut wrong = Vec::new();
    for Group { path, rows, .. } in groups() {
        let mut text = read(&path);
        for row in rows {
            let (files, places) = unmarked(&row.before);
            let ran = check(&files).exits(78);
            let found = mistakes(&ran);
            let found_places: BTreeSet<String> = found.iter().map(|(place, ..)| place.clone()).collect();
            if found_places != places {
                wrong.push(format!("{}: found {found_places:?}, which is marked at {places:?}", row.name));
            }
            let said: Vec<String> = found.iter().flat_map(|(_, message, hint)| [format!("! {message}"), format!("? {hint}")]).collect();
            if std::env::var_os(UPDATE).is_some() {
                text = with_messages(&text, &row, &said);
            } else if said != row.said {
                wrong.push(format!("{}: expected\n{}\nfound\n{}", row.name, row.said.join("\n"), said.join("\n")));
            }
        }
        if std::env::var_os(UPDATE).is_some() {
            write(&path, &text);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The text of a file with the messages of one row replaced.
fn with_messages(text: &str, row: &Row, said: &[String]) -> String {
    let head = format!("\n== {}\n", row.name);
    let (before, rest) = text.split_once(&head).expect("the row is there");
    let (own, after) = rest.split_once("\n=\n").expect("a row has a document after it");
    let kept: Vec<&str> = own.lines().filter(|line| !line.starts_with("! ") && !line.starts_with("? ")).collect();
    format!("{before}{head}{}\n{}\n=\n{after}", kept.join("\n"), said.join("\n"))
}

#[test]
fn each_hint_leads_to_a_document_without_mistakes() {
    let mut wrong = Vec::new();
    for row in groups().into_iter().flat_map(|group| group.rows) {
        let ran = check(&row.after);
        if ran.code != Some(0) {
            wrong.push(format!("{}\n{ran}", row.name));
        }
        // A document that follows a hint has to contain what the hint says to write.
        let all: String = row.after.values().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for hint in row.said.iter().filter_map(|line| line.strip_prefix("? ")) {
            let code = hint.strip_prefix("write `").or(hint.strip_prefix("did you mean `")).and_then(|rest| rest.split('`').next());
            let is_whole = |code: &&str| !code.contains('…') && !code.split(|c: char| !c.is_ascii_uppercase()).any(|word| word.len() > 2);
            if let Some(code) = code.filter(is_whole).filter(|code| !all.contains(*code)) {
                wrong.push(format!("{}: the document after it has no `{code}`", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Mistakes of other kinds, and the section each is in.
const OTHERS: [(&str, &str); 3] = [
    ("workers", "workers: { other: { queue: other, to: \"http://127.0.0.1:80/\", tooo: 1 } }\n"),
    ("credentials", "credentials: { other: \"{{values.there_is_no_other}}\" }\n"),
    ("bundles", "bundles: { other: { s3: \"s3://r/a.tar\", into: /opt/other } }\n"),
];

#[test]
fn no_mistake_hides_another() {
    let mut wrong = Vec::new();
    for row in groups().into_iter().flat_map(|group| group.rows) {
        let (files, places) = unmarked(&row.before);
        let document = &files[DOCUMENT];
        for (section, other) in OTHERS.iter().filter(|(section, _)| !document.contains(&format!("{section}:"))) {
            let mut files = files.clone();
            files.insert(DOCUMENT.to_owned(), format!("{document}{other}"));
            let line = format!("{DOCUMENT}:{}:", document.lines().count() + 1);
            let found: BTreeSet<String> = mistakes(&check(&files)).into_iter().map(|(place, ..)| place).collect();
            let is_open = document.lines().last().is_some_and(|last| last.matches('"').count() % 2 == 1);
            let has_other = found.iter().any(|place| place.starts_with(&line));
            // What follows an open quote is inside it; and if something is not YAML, what it would define is unknown.
            let may_be_hidden = is_open || *section == "credentials" && row.said.iter().any(|said| said.contains("YAML"));
            if !found.is_superset(&places) || !has_other && !may_be_hidden {
                wrong.push(format!("{} with {other}: {found:?}", row.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table of `docs/reference/mistakes.md`.
#[test]
fn the_page_lists_every_mistake() {
    let page = tests().join("../docs/reference/mistakes.md");
    let (head, _) = read(&page).split_once("\n## ").map(|(head, rest)| (head.to_owned(), rest.to_owned())).expect("it has sections");
    let mut expected = head;
    for Group { title, rows, .. } in groups() {
        expected += &format!("\n## {title}\n\n| Mistake | Message | Hint |\n|---|---|---|\n");
        for row in rows {
            let of = |sign: &str| -> Vec<String> {
                let said = row.said.iter().filter_map(|line| line.strip_prefix(sign)).map(|line| line.replace('|', "\\|"));
                said.collect::<BTreeSet<_>>().into_iter().collect()
            };
            expected += &format!("| {} | {} | {} |\n", row.name, of("! ").join("<br>"), of("? ").join("<br>"));
        }
    }
    let (title, rows) = usage::rows();
    expected += &format!("\n## {title}\n\n| Mistake | Command | Message | Hint | Exit code |\n|---|---|---|---|---|\n");
    for usage::Row { name, command, code, said, .. } in rows {
        let of = |sign: &str| {
            let said: Vec<String> = said.iter().filter_map(|line| line.strip_prefix(sign)).map(|line| line.replace('|', "\\|")).collect();
            said.join("<br>")
        };
        let command = command.replace("as_nobody", "ingot");
        expected += &format!("| {name} | `{command}` | {} | {} | {code} |\n", of("! "), of("? "));
    }
    if std::env::var_os(UPDATE).is_some() {
        write(&page, &expected);
    }
    assert!(read(&page) == expected, "run this test with {UPDATE}=1");
}

#[expect(clippy::disallowed_methods, reason = "a test stands outside of ingot")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("it can be read")
}
