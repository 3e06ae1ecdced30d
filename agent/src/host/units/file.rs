//! Parses unit files: their settings, each word with its line number.
//!
//! Source: systemd.syntax(7). A line that ends with a backslash continues on the next one; comments in between are
//! skipped.

/// One setting of a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<'t> {
    /// The section, without brackets.
    pub(crate) section: &'t str,
    pub(crate) name: &'t str,
    /// The words of its value, each with its line number.
    pub(crate) words: Vec<(&'t str, usize)>,
}

impl Setting<'_> {
    pub(crate) fn is(&self, section: &str, name: &str) -> bool {
        self.section == section && self.name == name
    }
}

/// The settings of a unit file, in order.
pub(crate) fn settings(text: &str) -> Vec<Setting<'_>> {
    let mut settings: Vec<Setting<'_>> = Vec::new();
    let (mut section, mut goes_on) = ("", false);
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.starts_with(['#', ';']) || (line.is_empty() && !goes_on) {
            continue;
        }
        let (content, continued) = match line.strip_suffix('\\') {
            Some(content) => (content, true),
            None => (line, false),
        };
        if goes_on {
            if let Some(setting) = settings.last_mut() {
                setting.words.extend(words(content, number));
            }
        } else if let Some(name) = content.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            section = name;
        } else if let Some((name, value)) = content.split_once('=') {
            settings.push(Setting { section, name: name.trim_end(), words: words(value, number).collect() });
        }
        goes_on = continued;
    }
    settings
}

fn words(value: &str, line: usize) -> impl Iterator<Item = (&str, usize)> {
    value.split_whitespace().map(move |word| (word.trim_matches('"'), line))
}

/// The drop-in directories of a unit, by name only, the most specific first: its own, its template's, those of its
/// prefixes, and that of its type.
///
/// Source: systemd.unit(5).
pub(crate) fn drop_in_directories(name: &str) -> Vec<String> {
    let Some((_, kind)) = name.rsplit_once('.') else { return Vec::new() };
    let mut names = vec![name.to_owned()];
    names.extend(template_of(name));
    for name in names.clone() {
        let (prefix, rest) = name.split_at(name.find('@').unwrap_or(name.len() - kind.len() - 1));
        let dashes = prefix.rmatch_indices('-').filter(|(at, _)| at + 1 < prefix.len());
        names.extend(dashes.map(|(at, _)| format!("{}{rest}", &prefix[..=at])));
    }
    names.push(kind.to_owned());
    names.into_iter().map(|name| format!("{name}.d")).collect()
}

/// The template of an instance: `x@.service` for `x@1.service`.
pub(crate) fn template_of(name: &str) -> Option<String> {
    let (stem, rest) = name.split_once('@')?;
    let (instance, kind) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{stem}@.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_after_a_backslash() {
        let text =
            "[Unit]\nAfter = a.service \\\n  b.service\\\n# not yet \\\n c.service\nWants=\n\n[Service]\nExecStart=/x \\\n\nAfter=no\n";
        let found = settings(text);
        let told = found.iter().map(|setting| (setting.section, setting.name, setting.words.as_slice()));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("Unit", "After", [("a.service", 2), ("b.service", 3), ("c.service", 5)].as_slice()),
                ("Unit", "Wants", &[]),
                ("Service", "ExecStart", &[("/x", 9)]),
                ("Service", "After", &[("no", 11)]),
            ]
        );
    }

    #[test]
    fn drop_ins_are_of_a_unit_its_template_its_prefixes_and_its_type() {
        for (name, expected) in [
            ("x.service", "x.service.d service.d"),
            ("foo-bar-x.service", "foo-bar-x.service.d foo-bar-.service.d foo-.service.d service.d"),
            ("x@1-2.service", "x@1-2.service.d x@.service.d service.d"),
            ("a-b@1.service", "a-b@1.service.d a-b@.service.d a-@1.service.d a-@.service.d service.d"),
        ] {
            assert_eq!(drop_in_directories(name).join(" "), expected);
        }
    }
}
