//! What a rule finds but does not mean: the allow lists of gitleaks.
//!
//! Which files an allow list applies to is different here than in a repository: see [`Rule`](super::rule::Rule).

use regex_lite::Regex;
use serde::Deserialize;

use super::expression::from_go;

/// `[[allowlists]]`, of one rule or of all rules.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AllowanceText {
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    condition: Option<String>,
    #[serde(default)]
    regex_target: Option<String>,
    #[serde(default)]
    regexes: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    stopwords: Vec<String>,
    /// Ignored: an image has no commits.
    #[serde(default, rename = "commits")]
    _commits: Vec<String>,
    /// In a global list of gitleaks: the only rules to which it applies.
    #[serde(default)]
    pub(super) target_rules: Vec<String>,
}

/// A match, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matched<'a> {
    pub(super) secret: &'a str,
    pub(super) whole: &'a str,
    pub(super) line: &'a str,
}

#[derive(Debug)]
pub(super) struct Allowance {
    target: Target,
    all: bool,
    regexes: Vec<Regex>,
    paths: Vec<Regex>,
    stopwords: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Secret,
    Match,
    Line,
}

impl Allowance {
    pub(super) fn compile(text: &AllowanceText) -> Result<Self, regex_lite::Error> {
        let compile = |texts: &[String]| texts.iter().map(|text| Regex::new(&from_go(text))).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            target: match text.regex_target.as_deref() {
                Some("match") => Target::Match,
                Some("line") => Target::Line,
                _ => Target::Secret,
            },
            all: matches!(text.condition.as_deref(), Some("AND" | "and" | "&&")),
            regexes: compile(&text.regexes)?,
            paths: compile(&text.paths)?,
            stopwords: text.stopwords.iter().map(|word| word.to_ascii_lowercase()).collect(),
        })
    }

    /// Whether the match is not meant. `path` is `None` if the file does not matter.
    pub(super) fn covers(&self, matched: Matched<'_>, path: Option<&str>) -> bool {
        let text = match self.target {
            Target::Secret => matched.secret,
            Target::Match => matched.whole,
            Target::Line => matched.line,
        };
        let lowercase = matched.secret.to_ascii_lowercase();
        let checks: [(bool, &dyn Fn() -> bool); 3] = [
            (self.stopwords.is_empty(), &|| self.stopwords.iter().any(|word| lowercase.contains(word.as_str()))),
            (self.regexes.is_empty(), &|| self.regexes.iter().any(|regex| regex.is_match(text))),
            (self.paths.is_empty(), &|| path.is_some_and(|path| self.paths.iter().any(|regex| regex.is_match(path)))),
        ];
        let mut asked = checks.iter().filter(|(empty, _)| !empty).map(|(_, check)| check()).peekable();
        if self.all { asked.peek().is_some() && asked.all(|covered| covered) } else { asked.any(|covered| covered) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(toml: &str, secret: &str, path: Option<&str>) -> bool {
        let allowance = Allowance::compile(&toml::from_str(toml).unwrap()).unwrap();
        allowance.covers(Matched { secret, whole: "key = secret", line: "the key = secret;" }, path)
    }

    #[test]
    fn covers_by_the_secret_the_match_or_the_line() {
        assert!(covers("regexes = ['EXAMPLE$']", "AKIAEXAMPLE", None));
        assert!(!covers("regexes = ['^key']", "AKIA", None));
        assert!(covers("regexTarget = 'match'\nregexes = ['^key']", "AKIA", None));
        assert!(covers("regexTarget = 'line'\nregexes = [';$']", "AKIA", None));
        assert!(covers("stopwords = ['example']", "MyExample", None));
    }

    #[test]
    fn covers_by_any_of_what_is_asked_or_by_all() {
        let both = "regexes = ['^a']\npaths = ['go\\.sum$']";
        assert!(covers(both, "abc", Some("/x")));
        assert!(covers(both, "xyz", Some("/go.sum")));
        let all = format!("condition = 'AND'\n{both}");
        assert!(!covers(&all, "abc", Some("/x")));
        assert!(covers(&all, "abc", Some("/go.sum")));
        assert!(!covers("condition = 'AND'", "abc", None), "nothing asked covers nothing");
    }
}
