//! Warns about secrets that end with a line break, as `echo` and editors leave it. The line break is kept, because a
//! key may need it.

use serde_json::Value as Json;

use super::{Plan, PlanNode};
use crate::address::{Address, CREDENTIALS};
use crate::template::{Template, descend};

impl Plan {
    /// The warning about a secret that was read as `value`. `None` if it does not end with a line break, or if the line
    /// break gets into no text and no login of a database.
    ///
    /// The last line of a key in PEM form correctly ends with a line break.
    pub(crate) fn line_break_of(&self, address: &Address, value: &Json) -> Option<String> {
        if address.kind() != "secrets" || !any_ends_with_one(value) {
            return None;
        }
        let mut told: Vec<&[String]> = Vec::new();
        for node in &self.nodes {
            for reference in node.references.iter().filter(|reference| reference.address().as_ref() == Some(address)) {
                let path = reference.segments.as_slice();
                let ends_with_one = descend(value, &path[2..]).is_some_and(any_ends_with_one);
                if ends_with_one && !told.contains(&path) && self.uses_untrimmed(node, path) {
                    told.push(path);
                }
            }
        }
        let names: Vec<String> = told.iter().map(|path| path.join(".")).collect();
        let of_texts = names.first().map(|first| {
            let verb = if names.len() == 1 { "ends" } else { "end" };
            format!("{} {verb} with a line break, which is kept; {{{{trim {first}}}}} removes it", names.join(" and "))
        });
        let remarks: Vec<String> = of_texts.into_iter().chain(self.line_break_of_credentials(address, value)).collect();
        (!remarks.is_empty()).then(|| remarks.join("; "))
    }

    /// The warning about a secret that is used to log in to databases.
    fn line_break_of_credentials(&self, address: &Address, value: &Json) -> Option<String> {
        let logs_in =
            |node: &&PlanNode| node.address.kind() == "databases" && node.step.shape(node.address.key()).watches.contains(&address);
        let databases: Vec<&str> = self.nodes.iter().filter(logs_in).map(|node| node.address.as_str()).collect();
        let fields = CREDENTIALS.iter().filter(|field| value.get(field).is_some_and(any_ends_with_one));
        let names: Vec<String> = fields.map(|field| format!("{address}.{field}")).collect();
        if databases.is_empty() || names.is_empty() {
            return None;
        }
        let (names, logging_in, databases) = (names.join(" and "), databases.len(), databases.join(" and "));
        let verb = if logging_in == 1 { "logs" } else { "log" };
        Some(format!("{databases} {verb} in with {names} as stored, including the line break at the end: store it without the line break"))
    }

    fn uses_untrimmed(&self, node: &PlanNode, path: &[String]) -> bool {
        let file = node.step.template().and_then(|file| self.templates.get(file));
        let texts = node.step.shape(node.address.key()).texts;
        file.is_some_and(|template| template.uses_untrimmed(path))
            || texts.iter().any(|text| Template::parse(text.raw()).is_ok_and(|template| template.uses_untrimmed(path)))
    }
}

fn any_ends_with_one(value: &Json) -> bool {
    match value {
        Json::String(text) => {
            text.ends_with('\n') && !text.trim_end().lines().next_back().is_some_and(|line| line.starts_with("-----END "))
        }
        Json::Array(items) => items.iter().any(any_ends_with_one),
        Json::Object(fields) => fields.values().any(any_ends_with_one),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::document::BootDocument;
    use crate::document::source::Layers;

    fn told(content: &str, value: &Json) -> Option<String> {
        told_of(&format!("files: {{ /etc/a: {{ content: {} }} }}", json!(content)), value)
    }

    fn told_of(steps: &str, value: &Json) -> Option<String> {
        let mut layers = Layers::default();
        let text = format!("#ingot\nversion: 1\nsecrets: {{ db: {{ secrets_manager: db }} }}\n{steps}\n");
        layers.add_named("test", text.as_bytes());
        let plan = Plan::compile(BootDocument::of(layers), &BTreeMap::new()).unwrap();
        plan.line_break_of(&Address::new("secrets", "db"), value)
    }

    #[test]
    fn says_which_reference_carries_a_line_break() {
        let said = "secrets.db ends with a line break, which is kept; {{trim secrets.db}} removes it";
        assert_eq!(told("{{secrets.db}}", &json!("hunter2\n")).as_deref(), Some(said));
        assert_eq!(told("{{secrets.db}}", &json!("hunter2\r\n")).as_deref(), Some(said));
        assert_eq!(
            told("{{secrets.db.a}} {{env secrets.db.b}} {{secrets.db.c}}", &json!({"a": "1\n", "b": "2\n", "c": "3"})).as_deref(),
            Some("secrets.db.a and secrets.db.b end with a line break, which is kept; {{trim secrets.db.a}} removes it")
        );
    }

    #[test]
    fn says_which_login_gets_a_line_break() {
        let database = "databases: { main: { instance: shop, credentials: secrets.db } }";
        let value = json!({"username": "shop", "password": "hunter2\n", "engine": "postgres\n"});
        let login = "databases.main logs in with secrets.db.password as stored, including the line break at the end: store it without the line break";
        assert_eq!(told_of(database, &value).as_deref(), Some(login));
        let both = format!("{database}\nfiles: {{ /etc/a: {{ content: '{{{{secrets.db.password}}}}' }} }}");
        let said = told_of(&both, &value).unwrap();
        assert!(said.starts_with("secrets.db.password ends with") && said.ends_with(login), "{said}");
        assert_eq!(told_of(database, &json!({"username": "shop", "password": "hunter2"})), None);
    }

    #[test]
    fn is_quiet_where_none_is_printed() {
        assert_eq!(told("{{secrets.db}}", &json!("hunter2")), None);
        assert_eq!(told("{{secrets.db}}", &json!("two\nlines")), None);
        assert_eq!(told("{{env (trim secrets.db)}}", &json!("hunter2\n")), None);
        assert_eq!(told("{{secrets.db.a}}", &json!({"a": "1", "b": "2\n"})), None);
        assert_eq!(told("{{secrets.db}}", &json!("-----BEGIN X-----\nMII\n-----END X-----\n")), None);
    }
}
