//! The rules: those of gitleaks in `gitleaks.toml`, and additional ones in `ingot.toml`, both in gitleaks's format.
//!
//! How a rule judges is described in [`rule`](super::rule).

use std::collections::BTreeMap;

use aho_corasick::dfa::{Builder, DFA};
use aho_corasick::{MatchKind, StartKind};
use serde::Deserialize;

use super::allowance::{Allowance, AllowanceText};
use super::rule::{Rule, RuleText};
use crate::packed;

/// The names of the two sets, with their releases.
const SETS: [(&str, &[u8]); 2] = [("gitleaks 8.30.1", packed::GITLEAKS), (concat!("ingot ", env!("CARGO_PKG_VERSION")), packed::RULES)];

/// gitleaks's rules that go by a file's name, where [`keystore`](super::keystore) goes by its content.
const BY_CONTENT: [&str; 1] = ["pkcs12-file"];

/// A file of rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RulesText {
    #[serde(default, rename = "title")]
    _title: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "minVersion")]
    _min_version: Option<String>,
    #[serde(default)]
    allowlist: Option<AllowanceText>,
    #[serde(default)]
    allowlists: Vec<AllowanceText>,
    rules: Vec<RuleText>,
}

/// All rules, and one automaton that finds the keywords of all of them in one pass.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) rules: Vec<Rule>,
    /// Allow lists for every rule.
    pub(super) allowances: Vec<Allowance>,
    pub(super) automaton: DFA,
    /// The length of the longest keyword.
    pub(super) longest: usize,
    /// For each keyword of the automaton, the rules that have it.
    pub(super) of_keyword: Vec<Vec<usize>>,
    /// Rules about whole files, by path.
    pub(super) of_files: Vec<usize>,
    /// The number of rules in each set.
    pub(super) sets: BTreeMap<String, usize>,
}

impl Rules {
    /// The rules of this version of ingot. They are compiled in, and tests check that they are valid.
    pub(super) fn load() -> Self {
        let mut allowances = Vec::new();
        let mut rules = Vec::new();
        let mut sets = BTreeMap::new();
        for (name, source) in SETS {
            let mut text: RulesText = toml::from_str(&packed::text(source)).expect("the tests have read these rules");
            text.rules.retain(|rule| !BY_CONTENT.contains(&rule.id.as_str()));
            let everywhere = text.allowlist.iter().chain(&text.allowlists).filter(|list| list.target_rules.is_empty());
            allowances.extend(everywhere.map(|list| Allowance::compile(list).expect("the tests have compiled this")));
            sets.insert(name.to_owned(), text.rules.len());
            rules.extend(text.rules.into_iter().map(|rule| Rule::compile(rule).expect("the tests have compiled this")));
            for list in text.allowlists.iter().filter(|list| !list.target_rules.is_empty()) {
                for rule in rules.iter_mut().filter(|rule: &&mut Rule| list.target_rules.contains(&rule.id)) {
                    rule.allow(list).expect("the tests have compiled this");
                }
            }
        }
        Self::new(rules, allowances, sets)
    }

    /// Whether the rule of that name guesses.
    pub(super) fn guesses(&self, id: &str) -> bool {
        self.rules.iter().any(|rule| rule.id == id && rule.guesses)
    }

    fn new(rules: Vec<Rule>, allowances: Vec<Allowance>, sets: BTreeMap<String, usize>) -> Self {
        let mut keywords: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, rule) in rules.iter().enumerate() {
            for keyword in &rule.keywords {
                keywords.entry(keyword).or_default().push(number);
            }
        }
        let automaton = Builder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .start_kind(StartKind::Unanchored)
            .prefilter(false)
            .build(keywords.keys())
            .expect("a few hundred keywords make no large automaton");
        let longest = keywords.keys().map(|keyword| keyword.len()).max().unwrap_or_default();
        let of_keyword = keywords.into_values().collect();
        let of_files = (0..rules.len()).filter(|rule| rules[*rule].is_about_names() || rules[*rule].wants_all()).collect();
        Self { rules, allowances, automaton, longest, of_keyword, of_files, sets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_compiles() {
        for rule in &Rules::load().rules {
            assert!(rule.compiles(), "{}", rule.id);
        }
    }

    /// An update to a new release of gitleaks must also change its name here.
    #[test]
    fn the_sets_are_called_as_their_files_say() {
        for (name, source) in SETS.iter().filter(|(name, _)| name.starts_with("gitleaks")) {
            assert!(packed::text(source).starts_with(&format!("# The default rules of {name},")), "{name}");
        }
        let rules = Rules::load();
        assert_eq!(rules.sets.values().sum::<usize>(), rules.rules.len());
    }

    #[test]
    fn each_rule_has_a_name_of_its_own_and_says_what_it_finds() {
        let rules = Rules::load().rules;
        let names: std::collections::BTreeSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
        assert_eq!(names.len(), rules.len());
        for rule in &rules {
            assert!((4..=100).contains(&rule.says.len()), "{}: {}", rule.id, rule.says);
        }
    }

    /// Such a rule is tried on the whole of each file to which it applies.
    #[test]
    fn a_rule_without_keywords_is_about_files_of_some_path() {
        for rule in Rules::load().rules.iter().filter(|rule| rule.keywords.is_empty()) {
            assert!(!rule.is_about("/opt/app/main.py"), "{}", rule.id);
        }
    }

    #[test]
    fn tells_rules_that_guess_from_those_that_know() {
        let rules = Rules::load().rules;
        let guesses = |id: &str| rules.iter().find(|rule| rule.id == id).unwrap().guesses;
        for id in ["private-key", "github-pat", "aws-access-token", "openai-api-key", "slack-bot-token", "jwt"] {
            assert!(!guesses(id), "{id}");
        }
        for id in ["generic-api-key", "curl-auth-user", "facebook-access-token", "sourcegraph-access-token"] {
            assert!(guesses(id), "{id}");
        }
    }
}
