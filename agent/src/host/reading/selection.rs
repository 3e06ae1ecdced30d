//! Which files below a directory are selected: names, whole directories, and patterns.
//!
//! A selection is followed down the tree, one name at a time, so that only directories that may contain a match are
//! listed. A path without wildcards is opened directly, without listing its directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use glob::Pattern;

/// Paths and patterns below a directory.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    patterns: Arc<[Vec<Part>]>,
}

/// One component of a path or pattern.
#[derive(Debug, Clone)]
enum Part {
    Name(String),
    Like(Pattern),
    /// `**`: any number of directories, including none.
    Deep,
}

/// The index of a pattern, and how many of its parts have been matched.
type Open = (usize, usize);

/// What is selected in one directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meant {
    /// Whether everything in it is selected, at any depth.
    pub(crate) everything: bool,
    names: BTreeMap<Arc<str>, Vec<Open>>,
    like: Vec<Open>,
}

impl Selection {
    /// Parses patterns, each a path relative to the directory: `*` and `?` match parts of a name, `[…]` matches one of
    /// several characters, `**` matches any directories.
    ///
    /// # Errors
    ///
    /// The index of the first invalid pattern, and the reason.
    pub(crate) fn parse<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Self, (usize, String)> {
        let parsed = patterns.into_iter().enumerate().map(|(at, pattern)| parts(pattern).map_err(|why| (at, why)));
        Ok(Self { patterns: parsed.collect::<Result<_, _>>()? })
    }

    /// Escapes a path, so that it is a pattern that matches only itself.
    pub(crate) fn literally(path: &str) -> String {
        Pattern::escape(path)
    }

    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// What is selected in the directory itself, and the patterns that match the directory.
    pub(crate) fn whole(&self) -> (Meant, Vec<usize>) {
        self.follow((0..self.patterns.len()).map(|at| (at, 0)), false)
    }

    /// Descends to `name` in a directory. `None` if it is not selected; otherwise what is selected in it if it is a
    /// directory, and the patterns that end with this name.
    pub(crate) fn enter(&self, directory: &Meant, name: &str) -> Option<(Meant, Vec<usize>)> {
        let named = directory.names.get(name).into_iter().flatten().copied();
        let like = directory.like.iter().filter(|(at, behind)| match &self.patterns[*at][*behind] {
            Part::Like(pattern) => pattern.matches(name),
            Part::Deep => true,
            Part::Name(_) => false,
        });
        let next = named.map(|(at, behind)| (at, behind + 1)).chain(like.map(|(at, behind)| match self.patterns[*at][*behind] {
            Part::Deep => (*at, *behind),
            _ => (*at, behind + 1),
        }));
        let (meant, ended) = self.follow(next, directory.everything);
        (meant.everything || !meant.names.is_empty() || !meant.like.is_empty()).then_some((meant, ended))
    }

    fn follow(&self, open: impl Iterator<Item = Open>, everything: bool) -> (Meant, Vec<usize>) {
        let mut meant = Meant { everything, ..Meant::default() };
        let mut ended = Vec::new();
        for (at, mut behind) in open {
            loop {
                match self.patterns[at].get(behind) {
                    None => {
                        meant.everything = true;
                        ended.push(at);
                    }
                    Some(Part::Name(name)) => meant.names.entry(name.as_str().into()).or_default().push((at, behind)),
                    Some(Part::Like(_)) => meant.like.push((at, behind)),
                    Some(Part::Deep) => {
                        meant.like.push((at, behind));
                        behind += 1;
                        continue;
                    }
                }
                break;
            }
        }
        (meant, ended)
    }
}

impl Meant {
    /// Everything in a directory, at any depth.
    pub(crate) fn all() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// The names to look up; `None` if the directory has to be listed.
    pub(crate) fn names(&self) -> Option<impl Iterator<Item = &str>> {
        (!self.everything && self.like.is_empty()).then(|| self.names.keys().map(|name| &**name))
    }
}

fn parts(pattern: &str) -> Result<Vec<Part>, String> {
    let parts = pattern.split('/').filter(|part| !matches!(*part, "" | "."));
    parts
        .map(|part| match part {
            ".." => Err("it leaves the directory by `..`".to_owned()),
            "**" => Ok(Part::Deep),
            _ if part.contains(['*', '?', '[']) => Pattern::new(part).map(Part::Like).map_err(|error| error.msg.to_owned()),
            _ => Ok(Part::Name(part.to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The selected paths, and the patterns that matched nothing.
    fn chosen(patterns: &[&str], paths: &[&'static str]) -> (Vec<&'static str>, Vec<usize>) {
        let selection = Selection::parse(patterns.iter().copied()).unwrap();
        let mut unmatched: Vec<usize> = (0..selection.len()).collect();
        let (whole, ended) = selection.whole();
        unmatched.retain(|at| !ended.contains(at));
        let mut found = Vec::new();
        for path in paths {
            let mut meant = Some(whole.clone());
            for name in path.split('/') {
                let entered = meant.and_then(|meant| selection.enter(&meant, name));
                unmatched.retain(|at| !entered.iter().any(|(_, ended)| ended.contains(at)));
                meant = entered.map(|(meant, _)| meant);
            }
            if meant.is_some_and(|meant| meant.everything) {
                found.push(*path);
            }
        }
        (found, unmatched)
    }

    #[test]
    fn follows_names_directories_and_patterns() {
        let paths = ["db/a", "db/b/c", "index/1.idx", "index/1.log", "index/x/2.idx", "top"];
        assert_eq!(chosen(&["db"], &paths).0, ["db/a", "db/b/c"]);
        assert_eq!(chosen(&["index/*.idx", "top"], &paths).0, ["index/1.idx", "top"]);
        assert_eq!(chosen(&["**/*.idx"], &paths).0, ["index/1.idx", "index/x/2.idx"]);
        assert_eq!(chosen(&["index/**/2.idx", "*/b"], &paths).0, ["db/b/c", "index/x/2.idx"]);
        assert_eq!(chosen(&["db/**"], &paths).0, ["db/a", "db/b/c"]);
        assert_eq!(chosen(&["."], &paths).0, paths);
    }

    #[test]
    fn knows_which_patterns_found_nothing_even_below_what_is_meant_anyway() {
        let (found, unmatched) = chosen(&["db", "db/a", "db/*.gone", "gone"], &["db/a", "db/b"]);
        assert_eq!((found, unmatched), (vec!["db/a", "db/b"], vec![2, 3]));
    }

    #[test]
    fn lists_a_directory_only_where_it_has_to() {
        let selection = Selection::parse(["db/a", "db/b*", "etc/x/y"]).unwrap();
        let (whole, _) = selection.whole();
        assert_eq!(whole.names().unwrap().collect::<Vec<_>>(), ["db", "etc"]);
        assert!(selection.enter(&whole, "db").unwrap().0.names().is_none());
        assert_eq!(selection.enter(&whole, "etc").unwrap().0.names().unwrap().collect::<Vec<_>>(), ["x"]);
        assert!(selection.enter(&whole, "usr").is_none());
    }

    #[test]
    fn takes_a_path_literally() {
        let odd = "a[1]/*?";
        assert_eq!(chosen(&[&Selection::literally(odd)], &[odd, "a1/xy"]).0, [odd]);
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        assert_eq!(Selection::parse(["ok", "a/../b"]).unwrap_err(), (1, "it leaves the directory by `..`".into()));
        assert!(Selection::parse(["a[b"]).is_err());
        assert!(Selection::parse(["a**"]).is_err());
    }
}
