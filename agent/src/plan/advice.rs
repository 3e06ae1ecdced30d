//! Warnings to the author: values that are printed unquoted where a helper must quote them.
//!
//! A line break, a quote or a `#` in such a value changes the file: it starts a second setting, or ends the value
//! early. Numbers, booleans, facts of the instance except its tags, and outputs that are not
//! [secrets](crate::address::is_secret) cannot contain these characters. The warnings are only for people on a dev box:
//! an instance boots with such a document, and its report does not repeat them.

use serde_json::Value as Json;

use crate::address::{EACH, is_secret};
use crate::document::error::Mistake;
use crate::facts;
use crate::template::{Bare, Inert, Stands, Template, descend};
use crate::text::Place;

/// Helpers that write a whole value, so that adjacent text must be passed to them too.
const WHOLE: [&str; 5] = ["env", "json", "shell", "toml", "yaml"];

/// Collects the warnings.
#[derive(Debug)]
pub(super) struct Adviser<'a> {
    values: &'a Json,
    found: &'a mut Vec<Mistake>,
}

impl<'a> Adviser<'a> {
    pub(super) fn new(values: &'a Json, found: &'a mut Vec<Mistake>) -> Self {
        Self { values, found }
    }

    /// Examines `template`, the compiled form of `text`. `helper` quotes for the format of the result. `place` finds
    /// the place of a value; it searches the document, so it is called only for values with a warning.
    pub(super) fn look_at(&mut self, template: &Template, text: &str, helper: Option<&'static str>, mut place: impl FnMut(&Bare) -> Place) {
        // Most texts refer to nothing that could cause a warning.
        let of_interest = |path: &[String]| is_secret(path) || self.is_text(path);
        let may_be_for_docker = helper == Some("env") && text.contains("docker");
        if !may_be_for_docker && !template.references().iter().any(|reference| of_interest(&reference.segments)) {
            return;
        }
        for bare in template.bare() {
            if let Some((message, hint)) = self.judge(&bare, helper) {
                self.found.push(Mistake::at(&place(&bare), message, hint));
            }
        }
    }

    /// The warning and its hint.
    fn judge(&self, bare: &Bare, helper: Option<&'static str>) -> Option<(String, String)> {
        let secret = bare.origins.iter().any(|origin| is_secret(origin));
        if bare.place == Stands::ForDocker {
            return judge_docker(bare, helper);
        }
        let no_value = match bare.inert {
            Some(Inert::Comment(sign)) if is_comment(sign, helper) => return None,
            Some(Inert::Remark) if matches!(helper, None | Some("shell" | "toml" | "yaml")) => return None,
            Some(Inert::Comment(_) | Inert::Remark) => false,
            Some(Inert::Header) => helper == Some("ini"),
            Some(Inert::BlockText) => helper == Some("yaml"),
            None => false,
        };
        let (helper, consequence) = match helper.filter(|_| !no_value) {
            // The output of `url` is safe in every format.
            _ if bare.place == Stands::InUrl && secret => ("url", "an `@`, `/` or `%` in it changes the URL"),
            Some(helper) if secret || bare.origins.iter().any(|origin| self.is_text(origin)) => {
                (helper, "a line break or a quote in it changes the file")
            }
            _ => return None,
        };
        let argument = &bare.argument;
        let hint = match bare.place {
            Stands::InQuotes if WHOLE.contains(&helper) => format!("write {{{{{helper} {argument}}}}} without the quotes around it"),
            Stands::Within | Stands::InUrl if WHOLE.contains(&helper) => {
                format!("write the whole value with one helper, as in {{{{{helper} (concat \"text\" {argument})}}}}")
            }
            _ => format!("write {{{{{helper} {argument}}}}}"),
        };
        Some((format!("`{}` is printed as it is, and {consequence}", bare.written), hint))
    }

    fn is_text(&self, origin: &[String]) -> bool {
        match origin {
            [root, rest @ ..] if root == "values" => holds_text(self.values, rest),
            [root, fact, ..] if root == "instance" => fact == facts::TAGS,
            _ => false,
        }
    }
}

/// Whether a line that begins with `sign` is a comment in the format that `helper` writes.
fn is_comment(sign: &str, helper: Option<&'static str>) -> bool {
    match helper {
        Some("xml") => sign == "<!--",
        Some("properties") => matches!(sign, "#" | "!"),
        Some("env" | "ini") => matches!(sign, "#" | ";"),
        Some("shell" | "toml" | "yaml" | "pgpass") => sign == "#",
        _ => true,
    }
}

fn judge_docker(bare: &Bare, helper: Option<&'static str>) -> Option<(String, String)> {
    let message = || format!("`{}` is written for docker, and this file is parsed as systemd reads it", bare.written);
    (helper == Some("env")).then(|| (message(), "set `format: none`".to_owned()))
}

/// Whether there is a string at `path` or below it.
fn holds_text(value: &Json, path: &[String]) -> bool {
    match (path.split_first(), value) {
        (Some((key, rest)), Json::Array(items)) if key == EACH => items.iter().any(|item| holds_text(item, rest)),
        (Some((key, rest)), Json::Object(fields)) if key == EACH => fields.values().any(|field| holds_text(field, rest)),
        (Some((key, rest)), _) => descend(value, std::slice::from_ref(key)).is_some_and(|found| holds_text(found, rest)),
        (None, Json::String(_)) => true,
        (None, Json::Array(items)) => items.iter().any(|item| holds_text(item, &[])),
        (None, Json::Object(fields)) => fields.values().any(|field| holds_text(field, &[])),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::tests;

    fn advised(files: &str) -> Vec<String> {
        tests::advised(&format!(
            "values: {{ name: shop, port: 80, debug: true, hosts: [a, b], ports: [1, 2] }}\n\
             secrets: {{ db: {{ parameter: /db }} }}\nvolumes: {{ d: {{ from: {{ device: /dev/sdf }} }} }}\n{files}"
        ))
    }

    fn file(path: &str, content: &str) -> Vec<String> {
        advised(&format!("files: {{ {path}: {{ content: {} }} }}", serde_json::to_string(content).unwrap()))
    }

    #[test]
    fn names_the_helper_of_each_format() {
        for (path, helper) in [
            ("/etc/a.env", "env"),
            ("/srv/.env", "env"),
            ("/etc/a.ini", "ini"),
            ("/etc/a.properties", "properties"),
            ("/etc/a.toml", "toml"),
            ("/etc/a.yaml", "yaml"),
            ("/etc/a.yml", "yaml"),
            ("/etc/a.json", "json"),
            ("/etc/a.xml", "xml"),
            ("/opt/a.sh", "shell"),
            ("/root/.pgpass", "pgpass"),
        ] {
            let message = "`secrets.db` is printed as it is, and a line break or a quote in it changes the file";
            assert_eq!(file(path, "a={{secrets.db}}\n"), [format!("{message} / write {{{{{helper} secrets.db}}}}")], "{path}");
            assert_eq!(file(path, &format!("a={{{{{helper} secrets.db}}}}\n")), [""; 0], "{path}");
        }
        assert_eq!(file("/etc/a.conf", "a={{secrets.db}}\n"), [""; 0]);
    }

    #[test]
    fn is_quiet_about_what_is_harmless() {
        for content in [
            "a={{values.port}} {{values.debug}} {{instance.region}} {{volumes.d.device}}",
            "a={{join values.ports \",\"}}",
            "{{#each values.ports}}a{{@index}}={{this}}\n{{/each}}",
            "a={{base64 secrets.db}}{{url secrets.db}}",
            "{{#if (eq values.name \"shop\")}}a=1{{/if}}",
            "{{secrets.db}}\n",
        ] {
            assert_eq!(file("/etc/a.env", content), [""; 0], "{content}");
        }
    }

    #[test]
    fn is_quiet_about_text_that_is_no_value() {
        for (path, content) in [
            ("/etc/a.yaml", "# made for {{values.name}}\na: 1\n"),
            ("/etc/a.env", "# made for {{values.name}}\n"),
            ("/opt/a.sh", "#!/bin/sh\n  # made for {{secrets.db}}\n"),
            ("/etc/a.ini", "; made for {{values.name}}\n[{{values.name}}]\na = 1\n"),
            ("/etc/a.xml", "<!-- made for {{values.name}} -->\n<a/>\n"),
            ("/etc/a.yaml", "a: |\n  hello {{values.name}}\n"),
            ("/etc/a.properties", "! made for {{values.name}}\na=1\n"),
            ("/etc/a.toml", "a = 1 # made for {{values.name}}\n"),
            ("/etc/a.conf", "hook https://hooks.example.com/services/{{secrets.db}}\n"),
        ] {
            assert_eq!(file(path, content), [""; 0], "{content}");
        }
        for (path, content) in [
            ("/etc/a.toml", "[{{values.name}}]\n"),
            // These are not comments in their format.
            ("/opt/a.sh", "; {{values.name}}\n"),
            ("/opt/a.sh", "// {{values.name}}\n"),
            ("/etc/a.xml", "# {{values.name}}\n"),
            ("/etc/a.env", "a=1 # {{values.name}}\n"),
            ("/etc/a.yaml", "a: |\n  b\nc:\n  d: {{values.name}}\n"),
            ("/etc/a.yaml", "a: |\n  b: postgres://u:{{secrets.db}}@h/d\n"),
        ] {
            assert_eq!(file(path, content).len(), 1, "{content}");
        }
    }

    #[test]
    fn a_file_for_docker_is_no_file_for_systemd() {
        let advice = "`secrets.db` is written for docker, and this file is parsed as systemd reads it / set `format: none`";
        assert_eq!(file("/etc/a.env", "a={{env secrets.db \"docker\"}}\n"), [advice]);
        let content = "content: \"a={{env secrets.db 'docker'}}\\n\"";
        assert_eq!(advised(&format!("files: {{ /etc/a.env: {{ {content}, format: none }} }}")), [""; 0]);
    }

    #[test]
    fn credentials_of_a_database_are_advised_about() {
        let advised = |content: &str| {
            let content = serde_json::to_string(content).unwrap();
            let database = "databases: { main: { instance: shop, credentials: managed } }";
            advised(&format!("{database}\nfiles: {{ /etc/a.env: {{ content: {content} }} }}"))
        };
        for content in
            ["a={{databases.main.password}}\n", "a={{trim databases.main.username}}\n", "a=x://u:{{databases.main.password}}@h/\n"]
        {
            assert_eq!(advised(content).len(), 1, "{content}");
        }
        assert_eq!(advised("a={{databases.main.endpoint}}:{{databases.main.port}}\n"), [""; 0]);
    }

    #[test]
    fn warns_of_every_text() {
        for content in [
            "a={{values.name}}\n",
            "a={{instance.tags.Name}}\n",
            "a={{join values.hosts \",\"}}\n",
            "a={{default values.name 1}}\n",
            "a={{trim secrets.db}}\n",
            "{{#each values.hosts}}a={{this}}\n{{/each}}",
            "{{#each secrets.db}}a={{this.b}}\n{{/each}}",
        ] {
            assert_eq!(file("/etc/a.env", content).len(), 1, "{content}");
        }
    }

    #[test]
    fn the_hint_fits_the_place() {
        for (path, content, hint) in [
            ("/etc/a.json", "{\"a\": \"{{secrets.db}}\"}", "write {{json secrets.db}} without the quotes around it"),
            (
                "/etc/a.toml",
                "a = \"b {{values.name}}\"\n",
                "write the whole value with one helper, as in {{toml (concat \"text\" values.name)}}",
            ),
            ("/etc/a.xml", "<a>b {{values.name}}</a>", "write {{xml values.name}}"),
            // The quotes belong to the attribute, or to the value.
            ("/etc/a.xml", "<a b=\"{{values.name}}\"/>", "write {{xml values.name}}"),
            ("/etc/a.properties", "a = \"{{values.name}}\"", "write {{properties values.name}}"),
            ("/etc/a.env", "a=postgres://u:{{secrets.db}}@h/d\n", "write {{url secrets.db}}"),
            ("/etc/a.conf", "a postgres://u:{{secrets.db}}@h/d\n", "write {{url secrets.db}}"),
        ] {
            let found = file(path, content);
            assert!(found.len() == 1 && found[0].ends_with(&format!(" / {hint}")), "{content}: {found:?}");
        }
    }

    #[test]
    fn a_file_may_say_that_it_is_something_else() {
        let content = "content: \"a={{secrets.db}}\\n\"";
        assert_eq!(advised(&format!("files: {{ /etc/a.env: {{ {content}, format: none }} }}")), [""; 0]);
        assert_eq!(advised(&format!("files: {{ /etc/a.jks: {{ {content}, format: env, encoding: base64 }} }}")), [""; 0]);
        assert_eq!(advised(&format!("files: {{ /etc/a: {{ {content}, format: env }} }}")).len(), 1);
        assert_eq!(advised("credentials: { a: \"amqp://u:{{secrets.db}}@h\" }").len(), 1);
        assert_eq!(advised("commands: { a: { run: [a, \"{{secrets.db}}\"], environment: { A: \"x://{{secrets.db}}/\" } } }"), [""; 0]);
    }
}
