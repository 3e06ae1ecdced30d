//! Finds errors that a boot would meet when it renders a text, as far as they are known on a dev box: a list that is a
//! string, or a file that cannot parse whatever the value of a secret is.
//!
//! Unknown values are replaced by one placeholder text after another: a mistake that occurs with all of them occurs in
//! any case. Two unknown values may need different kinds of text, so each pair of texts is tried. With more than two,
//! nothing is reported, and neither is a text that is selected by comparing an unknown value.

use std::sync::Arc;

use crate::address::{Reference, Usage};
use crate::document::error::Mistake;
use crate::document::scalar::Within;
use crate::plan::filled::Known;
use crate::sorting::Sort as _;
use crate::step::Misfit;
use crate::template::{Template, TemplateError};
use crate::text::{Place, SecretText};

/// Texts that a secret, a fact or an output may be. The last one stands for a missing value where the value is only
/// tested.
const STAND_INS: [&str; 9] = ["1", "x", "\"x\"", ENTRY, "{}", "<x/>", "x=1", "", ""];

/// Stands for entries of a JSON object. If it does not fit either, the other texts give a better error.
const ENTRY: &str = "\"x\": 1";

/// Checks a rendered text, and returns what is wrong with it.
pub(super) type Judge<'a> = &'a dyn Fn(&SecretText) -> Option<Misfit>;

/// A template as it was written, and the checks of the step that uses it.
pub(super) struct Source<'a> {
    pub(super) template: &'a Template,
    pub(super) text: &'a str,
    /// The place where it begins in a document; `None` for a file.
    pub(super) start: Option<&'a Place>,
    pub(super) file: Arc<str>,
    /// `None` if any text fits.
    pub(super) misfit: Option<Judge<'a>>,
}

impl Source<'_> {
    /// The mistake that occurs whatever the unknown values are.
    pub(super) fn mistake(&self, known: &Known<'_>) -> Option<Mistake> {
        match self.worst(known) {
            Ok((misfit, filled)) => Some(self.of_misfit(misfit, &filled)),
            Err(wrong) => wrong,
        }
    }

    /// What is wrong with the rendered text whatever the unknown values are; of several positions, the last
    /// one. Otherwise the error that prevents rendering, if there is one.
    fn worst(&self, known: &Known<'_>) -> Result<(Misfit, SecretText), Option<Mistake>> {
        let unknown: Vec<&Reference> = self.template.references().iter().filter(|reference| !known.has(reference)).collect();
        // A text that only prints its values can always be rendered.
        let is_printed = || match unknown.len() {
            0 => known.fits_in(self.text),
            count => count == self.template.references().len(),
        };
        if self.misfit.is_none() && is_printed() && self.template.only_prints() {
            return Err(None);
        }
        // For nearly every text, this single attempt is sufficient.
        let mut found = self.fill(known, &unknown, &[], [0, 0])?;
        if unknown.is_empty() {
            return Ok(found);
        }
        let (free, is_open) = free(self.template, &unknown);
        if is_open {
            return Err(None);
        }
        for pair in pairs(&free).into_iter().skip(1) {
            let (misfit, filled) = self.fill(known, &unknown, &free, pair)?;
            let is_entry = pair.iter().any(|n| STAND_INS[*n] == ENTRY);
            if !is_entry && (found.0.line, found.0.column) < (misfit.line, misfit.column) {
                found = (misfit, filled);
            }
        }
        Ok(found)
    }

    /// Renders the text with `pair` as the placeholders for the first and the second of `free`; the first of the pair
    /// also replaces all other unknown values. Returns what does not fit.
    fn fill(
        &self,
        known: &Known<'_>,
        unknown: &[&Reference],
        free: &[&[String]],
        pair: [usize; 2],
    ) -> Result<(Misfit, SecretText), Option<Mistake>> {
        let stand_in = |reference: &Reference| {
            let n = pair[usize::from(free.get(1).is_some_and(|second| *second == reference.segments))];
            let is_there = n + 1 < STAND_INS.len() || reference.usage != Usage::Tested;
            is_there.then(|| STAND_INS[n])
        };
        let filled = match unknown {
            [] => self.template.render(known.values()),
            _ => self.template.render(&known.with(self.template.references(), &stand_in)),
        };
        let filled = filled.map_err(|error| {
            let is_known = |path: &str| !unknown.iter().any(|reference| reference.to_string() == path);
            let is_wrong = unknown.is_empty() || error.value().is_some_and(is_known);
            is_wrong.then(|| self.of_template(&error))
        })?;
        let misfit = self.misfit.and_then(|misfit| misfit(&filled));
        Ok((misfit.ok_or(None)?, filled))
    }

    fn of_misfit(&self, Misfit { mut objection, line, column }: Misfit, filled: &SecretText) -> Mistake {
        let offset = offset(self.text, filled.expose(), line, column);
        if let Some(hint) = offset.and_then(|offset| hint(self.text, offset)) {
            objection.hint = hint.to_owned();
        }
        let within = offset.and_then(|offset| Within::at(self.text, offset));
        match self.start {
            Some(start) => Mistake { within, ..Mistake::of(start, objection) },
            None => {
                let before = self.text.get(..offset.unwrap_or_default()).unwrap_or_default();
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                Mistake::of(&Place { file: self.file.clone(), line: before.matches('\n').count() + 1, column }, objection)
            }
        }
    }

    fn of_template(&self, error: &TemplateError) -> Mistake {
        match self.start {
            Some(start) => Mistake::of_template(start, self.text, error),
            None => Mistake::of_template_file(self.file.clone(), error),
        }
    }
}

/// The unknown paths that may each affect the text in their own way, and whether the text may be anything because of
/// them.
fn free<'t>(template: &'t Template, unknown: &[&'t Reference]) -> (Vec<&'t [String]>, bool) {
    if unknown.is_empty() {
        return (Vec::new(), false);
    }
    let ((choices, compares), bare) = (template.choices(), template.bare());
    let is_bare = |reference: &Reference| bare.iter().any(|one| one.origins.contains(&reference.segments));
    let is_free =
        |reference: &&&Reference| reference.usage == Usage::Printed || is_bare(reference) || choices.contains(&&reference.segments[..]);
    let mut free: Vec<&[String]> = unknown.iter().filter(is_free).map(|reference| &reference.segments[..]).collect();
    free.order();
    free.dedup();
    let is_open = free.len() > 2 || compares && unknown.iter().any(|reference| reference.usage != Usage::Printed);
    (free, is_open)
}

/// The pairs of placeholder indices to try for the first and the second of `free`.
fn pairs(free: &[&[String]]) -> Vec<[usize; 2]> {
    let all = 0..STAND_INS.len();
    match free {
        [_, _] => all.clone().flat_map(|first| all.clone().map(move |second| [first, second])).collect(),
        _ => all.map(|n| [n, n]).collect(),
    }
}

/// The hint for a line without any value, or with a value that is quoted twice.
fn hint(text: &str, offset: usize) -> Option<&'static str> {
    let line = text[text[..offset].rfind('\n').map_or(0, |newline| newline + 1)..].lines().next()?;
    if ["json", "yaml", "toml"].iter().any(|helper| line.contains(&format!("\"{{{{{helper} "))) {
        return Some("remove the quotes around the helper, which writes them itself");
    }
    (!line.contains("{{")).then_some("correct this line, or the one before it")
}

/// The byte offset in the template of a position in the rendered text, as far as its line can be identified.
fn offset(text: &str, filled: &str, line: usize, column: usize) -> Option<usize> {
    let shown = filled.lines().nth(line.saturating_sub(1))?;
    let same = text.lines().count() == filled.lines().count();
    let n = if same { line.saturating_sub(1) } else { text.lines().position(|line| line == shown)? };
    let written = text.lines().nth(n)?;
    let alike = written.chars().zip(shown.chars()).take_while(|(one, other)| one == other).count();
    let (before, rest) =
        written.split_at(written.char_indices().nth(alike.min(column.saturating_sub(1))).map_or(written.len(), |(at, _)| at));
    // The position must be that of a visible character.
    let at = match rest.find(|character: char| !character.is_whitespace()) {
        Some(more) => before.len() + more,
        None => before.trim_end().char_indices().next_back()?.0,
    };
    Some(text.split_inclusive('\n').take(n).map(str::len).sum::<usize>() + at)
}

#[cfg(test)]
mod tests {
    use crate::document::BootDocument;
    use crate::document::source::Layers;
    use crate::plan::Plan;

    fn mistakes(text: &str) -> String {
        let mut layers = Layers::default();
        layers.add("doc", &format!("version: 1\n{text}\n"));
        let (plan, _) = Plan::compile_with_advice(BootDocument::of_a_desk(layers), &Default::default());
        plan.err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// A text that depends on unknown values may be correct.
    #[test]
    fn what_may_be_right_is_no_mistake() {
        for text in [
            r#"files: { /a.json: { content: "{{secrets.a}}" } }"#,
            r#"files: { /a.json: { content: '{"a": {{secrets.a}}}' } }"#,
            r#"files: { /a.toml: { content: "a = {{secrets.a}}" } }"#,
            r#"files: { /a.xml: { content: "{{secrets.a}}" } }"#,
            r#"files: { /a.yaml: { content: "{{#if (has secrets.a.b)}}a: [{{else}}a: 1{{/if}}" } }"#,
            r#"files: { /a.json: { content: '[{{#if secrets.a}}1,{{/if}}2]' } }"#,
            r#"files: { /a: { content: "{{#each secrets.a.b}}{{this}}{{/each}}" } }"#,
            r#"files: { /a: { content: "{{join secrets.a.b ','}}" } }"#,
            r#"files: { /a: { content: "{{#each values.list}}{{this}}{{/each}}" } }"#,
            r#"files: { /a: { content: "{{secrets.a}}", encoding: base64 } }"#,
            r#"files: { /a.json: { content: "{", format: none } }"#,
            // Selected by comparing an unknown value.
            r#"files: { /a.json: { content: '{{#if (eq instance.tags.env "prod")}}{"a": 1}{{else}}{{#if (ne secrets.a "x")}}{}{{/if}}{{/if}}' } }"#,
            r#"files: { /a.json: { content: '{{#if (or (eq secrets.a "y") (eq secrets.a "z"))}}{}{{/if}}' } }"#,
            // Two unknown values of different kinds.
            r#"files: { /a.toml: { content: "port = {{secrets.a}}\n{{secrets.b}}" } }"#,
            r#"files: { /a.json: { content: '{"a": 1, {{secrets.a}} }' } }"#,
            r#"files: { /a.json: { content: '{"a": {{secrets.b}}, {{secrets.a}} }' } }"#,
            r#"files: { /a.json: { content: '{{#unless secrets.b}}{"a": {{secrets.a}}}{{else}}{}{{/unless}}' } }"#,
            r#"files: { /a.toml: { content: "port = {{trim secrets.a}}\n{{trim secrets.b}}" } }"#,
            // Three unknown values are too many to try.
            r#"files: { /a.toml: { content: "{{secrets.a}}{{secrets.b}}{{instance.id}}" } }"#,
        ] {
            let known = r#"values: { list: ["{{instance.id}}"] }"#;
            let said = mistakes(&format!("{known}\nsecrets: {{ a: {{ secrets_manager: a }}, b: {{ secrets_manager: b }} }}\n{text}"));
            assert_eq!(said, "", "{text}");
        }
    }

    #[test]
    fn what_is_wrong_in_any_case_is_found() {
        for (text, says) in [
            (r#"files: { /a.json: { content: '{"a": {{json secrets.a}}' } }"#, "ends too early"),
            (r#"files: { /a.toml: { content: "[a\nb = {{toml secrets.a}}" } }"#, "not TOML"),
            (r#"files: { /a: { content: "{{secrets.a}} !", encoding: base64 } }"#, "not base64"),
            (r#"files: { /a.json: { content: '{"a": {{secrets.a}}, "b": {{instance.id}}' } }"#, "ends too early"),
            (r#"files: { /a.json: { content: '{"a": {{#if secrets.a}}1{{else}}2{{/if}}' } }"#, "ends too early"),
            (r#"commands: { a: { run: [echo, "{{join values.x ','}} {{secrets.a}}"] } }"#, "values.x is a string"),
        ] {
            let said = mistakes(&format!("values: {{ x: a }}\nsecrets: {{ a: {{ secrets_manager: a }} }}\n{text}"));
            assert!(said.contains(says), "{text}: {said}");
        }
    }
}
