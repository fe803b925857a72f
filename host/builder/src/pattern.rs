//! Patterns of names: `*`, `?`, `[a-z]`, and where they are for paths, `**`.

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(char),
    /// Any character; of a path, any but `/`.
    One,
    /// Any number of those.
    Many,
    /// Any number of any characters.
    All,
    /// Any number of directories, each with its `/`.
    Directories,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
    is_path: bool,
}

/// Why text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Pattern {
    /// A pattern of Go's `filepath.Match`, in which nothing but `/` matches `/`.
    pub(crate) fn of_name(text: &str) -> Result<Self, Malformed> {
        Self::read(text, true, false)
    }

    /// The same, with `**` for any number of directories, as `.dockerignore` has it.
    pub(crate) fn of_path(text: &str) -> Result<Self, Malformed> {
        Self::read(text, true, true)
    }

    /// A pattern of the shell's `${V#p}`: there are no paths.
    fn of_text(text: &str) -> Self {
        Self::read(text, false, false).unwrap_or_else(|Malformed| Self {
            parts: text.chars().map(Part::Literal).collect(),
            is_path: false,
        })
    }

    fn read(text: &str, is_path: bool, deep: bool) -> Result<Self, Malformed> {
        let mut parts = Vec::new();
        let characters: Vec<char> = text.chars().collect();
        let mut next = 0;
        while let Some(&character) = characters.get(next) {
            next += 1;
            parts.push(match character {
                '*' if deep && characters.get(next) == Some(&'*') => {
                    next += 1;
                    if characters.get(next) == Some(&'/') {
                        next += 1;
                        Part::Directories
                    } else {
                        Part::All
                    }
                }
                '*' => Part::Many,
                '?' => Part::One,
                '[' => class(&characters, &mut next)?,
                '\\' => {
                    next += 1;
                    Part::Literal(*characters.get(next - 1).ok_or(Malformed)?)
                }
                other => Part::Literal(other),
            });
        }
        Ok(Self { parts, is_path })
    }

    /// Whether all of `text` is so. It takes the time of both lengths' product, whatever they are.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.ends(text).last() == Some(&true)
    }

    /// Of each number of characters, whether so much of the beginning of `text` is so.
    fn ends(&self, text: &str) -> Vec<bool> {
        let text: Vec<char> = text.chars().collect();
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for part in &self.parts {
            reached = self.step(part, &text, &reached);
        }
        reached
    }

    fn step(&self, part: &Part, text: &[char], from: &[bool]) -> Vec<bool> {
        let within = |character: char| !self.is_path || character != '/';
        let mut to = vec![false; from.len()];
        let mut open = false;
        for end in 0..from.len() {
            let before = end.checked_sub(1).map(|last| (text[last], from[last]));
            to[end] = match (part, before) {
                (Part::Many | Part::All, before) => {
                    let passes = before.is_some_and(|(last, _)| *part == Part::All || within(last));
                    open = from[end] || (open && passes);
                    open
                }
                (Part::Directories, before) => {
                    let is_whole = open && before.is_some_and(|(last, _)| last == '/');
                    open |= from[end];
                    from[end] || is_whole
                }
                (_, None) => false,
                (Part::Literal(literal), Some((last, reached))) => reached && *literal == last,
                (Part::One, Some((last, reached))) => reached && within(last),
                (Part::Class { negated, ranges }, Some((last, reached))) => {
                    let inside = ranges.iter().any(|&(a, b)| (a..=b).contains(&last));
                    reached && within(last) && inside != *negated
                }
            };
        }
        to
    }
}

fn class(characters: &[char], next: &mut usize) -> Result<Part, Malformed> {
    let mut take = || {
        *next += 1;
        characters.get(*next - 1).copied().ok_or(Malformed)
    };
    let mut ranges = Vec::new();
    let mut character = take()?;
    let negated = matches!(character, '^' | '!');
    if negated {
        character = take()?;
    }
    while character != ']' || ranges.is_empty() {
        let first = if character == '\\' { take()? } else { character };
        let mut last = first;
        character = take()?;
        if character == '-' {
            last = match take()? {
                ']' => return Err(Malformed),
                '\\' => take()?,
                other => other,
            };
            character = take()?;
        }
        ranges.push((first, last));
    }
    Ok(Part::Class { negated, ranges })
}

/// Whether a name has anything in it that makes it a pattern.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '[', '\\'])
}

/// `${V#p}`, or `${V##p}`.
pub(crate) fn without_prefix<'a>(value: &'a str, pattern: &str, longest: bool) -> &'a str {
    let ends = Pattern::of_text(pattern).ends(value);
    let mut found = ends.iter().enumerate().filter(|(_, reached)| **reached).map(|(end, _)| end);
    let end = if longest { found.next_back() } else { found.next() };
    end.map_or(value, |end| &value[offset(value, end)..])
}

/// Where so many characters end, in bytes.
fn offset(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(offset, _)| offset)
}

/// `${V%p}`, or `${V%%p}`.
pub(crate) fn without_suffix<'a>(value: &'a str, pattern: &str, longest: bool) -> &'a str {
    let pattern = Pattern::of_text(pattern);
    let starts: Vec<usize> =
        value.char_indices().map(|(offset, _)| offset).chain([value.len()]).collect();
    let fits = |start: &&usize| pattern.matches(&value[**start..]);
    let start = if longest { starts.iter().find(fits) } else { starts.iter().rev().find(fits) };
    start.map_or(value, |start| &value[..*start])
}

/// `${V/p/r}`, or with `all` `${V//p/r}`: the longest that fits, from the left.
pub(crate) fn replaced(value: &str, pattern: &str, replacement: &str, all: bool) -> String {
    let pattern = Pattern::of_text(pattern);
    let (mut text, mut rest, mut done) = (String::new(), value, false);
    while !rest.is_empty() {
        let longest = pattern.ends(rest).iter().rposition(|reached| *reached);
        if let Some(length @ 1..) = longest.filter(|_| !done) {
            text.push_str(replacement);
            rest = &rest[offset(rest, length)..];
            done = !all;
        } else {
            let first = offset(rest, 1);
            text.push_str(&rest[..first]);
            rest = &rest[first..];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Pattern::of_path(pattern).unwrap().matches(text)
    }

    #[test]
    fn names_match_as_in_go() {
        for (pattern, text, expected) in [
            ("*.go", "main.go", true),
            ("*.go", "a/main.go", false),
            ("?", "é", true),
            ("?", "/", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**/b", "b", true),
            ("**/*.md", "docs/a/b.md", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        for malformed in ["[", "[a", "a\\", "[a-]"] {
            assert_eq!(Pattern::of_name(malformed), Err(Malformed), "{malformed}");
        }
    }

    proptest! {
        #[test]
        fn without_special_characters_a_pattern_is_its_text(a in "[ab/]{0,6}", b in "[ab/]{0,6}") {
            prop_assert_eq!(fits(&a, &b), a == b);
        }

        #[test]
        fn any_pattern_is_read_or_refused(pattern in "[ab*?/\\[\\]\\\\^-]{0,12}", text in "[ab/]{0,12}") {
            if let Ok(pattern) = Pattern::of_path(&pattern) {
                pattern.matches(&text);
            }
            let _ = (without_prefix(&text, &pattern, true), without_suffix(&text, &pattern, false));
            let _ = replaced(&text, &pattern, "x", true);
        }
    }
}
