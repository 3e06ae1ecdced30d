//! `.platform/nginx` of a release: its additions to nginx's configuration, with `compatible_with: beanstalk`.
//!
//! | file | is added |
//! |---|---|
//! | `conf.d/*.conf` | into `http {}`, before the application's `server {}` |
//! | `conf.d/elasticbeanstalk/*.conf` | into that `server {}` |
//! | `nginx.conf` | nowhere: it would replace the routing of requests from one release to the next |
//!
//! All are written into the application's own file, each after a line with its origin, so that nginx's errors can be
//! reported with the line in the release. ingot's own configuration omits whatever they set. Pure.

mod statements;

use std::collections::BTreeSet;
use std::ops::Range;

use self::statements::{Statement, statements};
use crate::gather::Gather as _;
use crate::steps::application::release::{Kind, Release};
use crate::steps::application::remark::Remark;

const DIRECTORY: &str = ".platform/nginx";
const HTTP: &str = ".platform/nginx/conf.d";
const SERVER: &str = ".platform/nginx/conf.d/elasticbeanstalk";

/// Starts the line before text from a release, followed by its file, a colon and its line.
const FROM: &str = "# from ";
/// The line after text from a release.
const END: &str = "# of ingot\n";

/// Directives that may be repeated, and therefore do not replace those of ingot.
const REPEATED: [&str; 10] =
    ["access_log", "add_header", "if", "include", "listen", "location", "log_format", "proxy_set_header", "set", "set_real_ip_from"];

/// One file: its text, and the positions of its directives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Snippet {
    path: String,
    text: String,
    statements: Vec<Statement>,
}

/// Everything that a release adds to nginx's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snippets {
    http: Vec<Snippet>,
    server: Vec<Snippet>,
    pub(crate) mistakes: Vec<Remark>,
}

impl Snippets {
    pub(crate) fn of(release: &Release) -> Self {
        let mut mistakes = Vec::new();
        if release.is_file(".platform/nginx/nginx.conf") {
            let message = "this would replace the configuration by which ingot leads requests from one release to the next";
            let hint = format!("move what it adds to {HTTP}/*.conf (into http) and {SERVER}/*.conf (into server), and remove it");
            mistakes.push(Remark::of(".platform/nginx/nginx.conf", message, hint));
        }
        let mut within = |directory: &str| {
            let mut found = Vec::new();
            for (name, _) in release.within(directory).filter(|(name, entry)| name.ends_with(".conf") && entry.kind != Kind::Directory) {
                let path = format!("{directory}/{name}");
                match release.text(&path) {
                    Some(Ok(text)) => match statements(text) {
                        Ok(statements) => found.push(Snippet { path, text: text.to_owned(), statements }),
                        Err((line, message)) => mistakes.push(Remark::at(path, line, message, "correct the line, or one before")),
                    },
                    Some(Err(mistake)) => mistakes.push(mistake),
                    None => {}
                }
            }
            found
        };
        let (http, server) = (within(HTTP), within(SERVER));
        Self { http, server, mistakes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.http.is_empty() && self.server.is_empty() && self.mistakes.is_empty()
    }

    /// A warning that they are ignored, because the application does not ask for them.
    pub(crate) fn unread(&self) -> Option<Remark> {
        let hint = "set it, or use `proxy:` of the application";
        (!self.is_empty()).then(|| Remark::of(DIRECTORY, "this is read only with `compatible_with: beanstalk`", hint))
    }

    /// Whether they contain their own `location /` for the server.
    pub(super) fn has_root(&self) -> bool {
        self.server
            .iter()
            .flat_map(|snippet| &snippet.statements)
            .any(|statement| statement.is_block && statement.words == ["location", "/"])
    }

    /// Whether they contain servers that pass requests on themselves.
    pub(super) fn has_servers(&self) -> bool {
        let servers = self.http.iter().flat_map(|snippet| &snippet.statements);
        self.has_root() || servers.into_iter().any(|statement| matches!(statement.name(), "server" | "upstream"))
    }

    /// Whether they set how long an application may take.
    pub(super) fn has_timeouts(&self) -> bool {
        self.http.iter().chain(&self.server).any(|snippet| snippet.text.contains("proxy_read_timeout"))
    }

    /// ingot's directives that are omitted in favor of those with the same name.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let all = self.http.iter().chain(&self.server).flat_map(|snippet| &snippet.statements);
        all.filter(|statement| !statement.is_block).map(Statement::name).filter(|name| !REPEATED.contains(name)).gather()
    }

    /// The text for `http {}`, and the text for the server. Directives that ingot's own `http {}` in `main` also sets
    /// cannot be repeated there, so they go into the server.
    pub(super) fn texts(&self, main: &str) -> (String, String) {
        let own = own_names(main);
        let (mut http, mut server) = (String::new(), String::new());
        for snippet in &self.http {
            let mut text = snippet.text.clone();
            for statement in snippet.statements.iter().filter(|statement| !statement.is_block && own.contains(statement.name())) {
                append(&mut server, &snippet.path, statement.line, &snippet.text[statement.span.clone()]);
                blank(&mut text, statement.span.clone());
            }
            append(&mut http, &snippet.path, 1, &text);
        }
        for snippet in &self.server {
            append(&mut server, &snippet.path, 1, &snippet.text);
        }
        (http, server)
    }
}

fn append(to: &mut String, path: &str, line: usize, text: &str) {
    to.extend([FROM, path, ":", &line.to_string(), "\n", text]);
    to.push_str(if text.ends_with('\n') { "" } else { "\n" });
    to.push_str(END);
}

/// Blanks out a part, so that the following text keeps its line numbers.
fn blank(text: &mut String, part: Range<usize>) {
    let lines = text[part.clone()].matches('\n').count();
    let blank = "\n".repeat(lines) + &" ".repeat(part.len() - lines);
    text.replace_range(part, &blank);
}

/// The directives in a configuration's `http {}` that cannot be repeated there.
fn own_names(main: &str) -> BTreeSet<String> {
    let inner = main.split_once("http {").and_then(|(_, inner)| inner.rsplit_once('}')).map_or("", |(inner, _)| inner);
    let found = statements(inner).unwrap_or_default().into_iter().filter(|statement| !statement.is_block);
    found.map(|statement| statement.name().to_owned()).filter(|name| !REPEATED.contains(&name.as_str())).gather()
}

/// The origin of a line in the application's configuration, if it comes from the release.
pub(crate) fn origin(site: &str, line: usize) -> Option<(&str, usize)> {
    let lines: Vec<&str> = site.lines().take(line.checked_sub(1)?).collect();
    let back = lines.iter().rev().position(|line| line.starts_with(FROM) || line.starts_with(END.trim_end()))?;
    let (path, first) = lines[lines.len() - 1 - back].strip_prefix(FROM)?.rsplit_once(':')?;
    Some((path, first.parse::<usize>().ok()? + back))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(remarks: &[Remark]) -> String {
        remarks.iter().map(|remark| format!("{remark}\n")).collect()
    }

    const MAIN: &str = "user a;\nhttp {\n    server_tokens off;\n    map $a $b { default 1; }\n    access_log off;\n}\n";

    #[test]
    fn what_ingot_sets_as_well_comes_to_the_server() {
        let found = Snippets::of(&Release::of(&[
            (".platform/nginx/conf.d/a.conf", "# ours\nserver_tokens\n  on;\nclient_max_body_size 50M;\nmap $x $y { default '}'; }\n"),
            (".platform/nginx/conf.d/elasticbeanstalk/b.conf", "location / { return 200; }"),
            (".platform/nginx/conf.d/README", "}"),
        ]));
        assert_eq!(said(&found.mistakes), "");
        assert!(found.has_root() && !found.has_timeouts());
        assert_eq!(found.names().into_iter().collect::<Vec<_>>(), ["client_max_body_size", "server_tokens"]);
        let (http, server) = found.texts(MAIN);
        assert!(!http.contains("server_tokens") && http.contains("\nclient_max_body_size 50M;\nmap $x"), "{http}");
        assert!(server.contains("server_tokens\n  on;\n") && server.contains("location / { return 200; }\n# of ingot"), "{server}");
        let at = |text: &str, part: &str| text.lines().position(|line| line.contains(part)).map(|line| line + 1).unwrap();
        assert_eq!(origin(&http, at(&http, "50M")), Some((".platform/nginx/conf.d/a.conf", 4)));
        assert_eq!(origin(&server, at(&server, "  on;")), Some((".platform/nginx/conf.d/a.conf", 3)));
        assert_eq!(origin(&format!("{http}user a;\n"), http.lines().count() + 1), None);
    }

    #[test]
    fn what_does_not_hold_together_is_a_mistake_in_its_line() {
        let texts = ["a b;\n}\n", "a {\n b;\n", "a b\n", "a {\n b }\n", "a 'b;\n", "\n;\n", "{\n}\n"];
        let said: String =
            texts.map(|text| said(&Snippets::of(&Release::of(&[(".platform/nginx/conf.d/a.conf", text)])).mistakes)).concat();
        insta::assert_snapshot!(said, @r"
        .platform/nginx/conf.d/a.conf:2: this `}` closes nothing
        .platform/nginx/conf.d/a.conf:1: this `{` is not closed
        .platform/nginx/conf.d/a.conf:1: this directive does not end with `;`
        .platform/nginx/conf.d/a.conf:2: this directive does not end with `;`
        .platform/nginx/conf.d/a.conf:1: this quote is not closed
        .platform/nginx/conf.d/a.conf:2: no directive comes before this
        .platform/nginx/conf.d/a.conf:1: no directive comes before this
        ");
    }

    #[test]
    fn a_whole_configuration_is_a_mistake() {
        let found = Snippets::of(&Release::of(&[(".platform/nginx/nginx.conf", "user nginx;\n")]));
        assert_eq!(found.mistakes.len(), 1);
        assert!(!found.is_empty() && found.unread().is_some());
    }
}
