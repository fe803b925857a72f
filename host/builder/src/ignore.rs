//! `.dockerignore`: what of a context is none.

use crate::pattern::{Malformed, Pattern};

/// The patterns of a `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    text: String,
    /// `!`: what it matches is part of the context all the same.
    includes: bool,
}

/// A line that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidLine {
    pub(crate) number: usize,
    pub(crate) text: String,
}

impl Ignore {
    /// Reads the file.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidLine> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (includes, rest) =
                line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
            let invalid = || InvalidLine { number: index + 1, text: line.to_owned() };
            let text = clean(rest);
            if text.is_empty() && includes {
                return Err(invalid());
            }
            // The whole context is never excluded by its own name.
            if text.is_empty() {
                continue;
            }
            let pattern = Pattern::of_path(&text).map_err(|Malformed| invalid())?;
            rules.push(Rule { pattern, text, includes });
        }
        Ok(Self { rules })
    }

    /// Whether what is at `path` is excluded: the last rule counts that matches it or a directory that
    /// it is in.
    pub(crate) fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            if rule.includes == excluded && rule.matches(path) {
                excluded = !rule.includes;
            }
        }
        excluded
    }

    /// Whether something below an excluded directory may be part of the context.
    pub(crate) fn may_include_below(&self, directory: &str) -> bool {
        let depth = directory.split('/').count();
        self.rules.iter().filter(|rule| rule.includes).any(|rule| {
            // Where the pattern's beginning is as deep as the directory, it must be that directory.
            let beginning: Vec<&str> = rule.text.split('/').take(depth).collect();
            let is_deep = beginning.iter().any(|name| name.contains("**"));
            is_deep
                || (rule.text.split('/').count() > depth
                    && Pattern::of_path(&beginning.join("/"))
                        .is_ok_and(|pattern| pattern.matches(directory)))
        })
    }
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(slash, _)| &path[..slash]);
        parents.chain([path]).any(|path| self.pattern.matches(path))
    }
}

/// A path without `.`, `..` and `/` that say nothing.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn excluded(rules: &str, path: &str) -> bool {
        Ignore::parse(rules).unwrap().excludes(path)
    }

    #[test]
    fn rules_are_dockers() {
        for (rules, path, expected) in [
            ("*.md", "README.md", true),
            ("*.md", "docs/README.md", false),
            ("**/*.md", "docs/README.md", true),
            ("docs", "docs/a/b", true),
            ("/docs/", "docs/a", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*\n!src\n!src/**", "src/main.rs", false),
            ("*\n!src", "target/x", true),
            ("# a\n\n  temp? ", "tempa", true),
            ("temp?", "temp", false),
            ("a/../b", "b", true),
            (".", "a", false),
            ("node_modules", "a/node_modules", false),
            ("**/node_modules", "a/node_modules/b", true),
            ("docs/*\n!docs/keep", "docs/keep/x", false),
        ] {
            assert_eq!(excluded(rules, path), expected, "{rules:?} {path}");
        }
    }

    #[test]
    fn excluded_directories_are_looked_into_where_a_rule_says_so() {
        let may = |rules: &str, directory: &str| {
            Ignore::parse(rules).unwrap().may_include_below(directory)
        };
        assert!(may("*\n!src/a", "src"));
        assert!(!may("*\n!src/a", "target"));
        assert!(may("*\n!**/a", "target/deep"));
        assert!(!may("*\n!src", "src/below"));
        assert!(!may("*", "src"));
    }

    #[test]
    fn lines_that_are_no_patterns_are_told() {
        let invalid = InvalidLine { number: 2, text: "[a".to_owned() };
        assert_eq!(Ignore::parse("a\n[a").unwrap_err(), invalid);
        assert_eq!(Ignore::parse("!").unwrap_err().number, 1);
    }

    proptest! {
        #[test]
        fn what_an_excluded_directory_may_hold_is_looked_for(
            rules in "(!?[ab*/]{1,5}\n){0,4}",
            directory in "[ab](/[ab]){0,2}",
            name in "[ab]",
        ) {
            if let Ok(ignore) = Ignore::parse(&rules) {
                let path = format!("{directory}/{name}");
                if ignore.excludes(&directory) && !ignore.excludes(&path) {
                    prop_assert!(ignore.may_include_below(&directory), "{rules:?}");
                }
            }
        }
    }
}
