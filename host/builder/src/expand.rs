//! Variables in what instructions say: `$NAME`, `${NAME}` and what the shell can do with them; quotes
//! and escapes, which go.

use crate::{
    parse::{Fault, Text},
    pattern,
};

/// How deep values may stand in values: `${A:-${B:-...}}`.
const DEPTH_MAX: usize = 32;

/// What there is besides `${V}`.
const MODIFIERS: &str = "there are ${V:-w}, ${V-w}, ${V:+w}, ${V+w}, ${V:?w}, ${V?w}, ${V#p}, \
                         ${V##p}, ${V%p}, ${V%%p}, ${V/p/r} and ${V//p/r}";

/// What variables mean, and how text is written.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a> {
    pub(crate) escape: char,
    pub(crate) value: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    /// A word with its variables replaced, without its quotes.
    pub(crate) fn expand(&self, text: &Text) -> Result<String, Fault> {
        let mut words = Lexer::new(self, text).words(false)?;
        Ok(words.pop().unwrap_or_default())
    }

    /// The words of a line, those of values among them.
    pub(crate) fn expand_words(&self, text: &Text) -> Result<Vec<String>, Fault> {
        Lexer::new(self, text).words(true)
    }

    /// A file's lines, in which quotes are nothing special.
    pub(crate) fn expand_file(&self, text: &Text) -> Result<String, Fault> {
        let mut lexer = Lexer::new(self, text);
        let mut file = String::new();
        while let Some(character) = lexer.peek() {
            if character == '$' {
                file.push_str(&lexer.variable()?);
                continue;
            }
            lexer.next += 1;
            let escaped = lexer.peek().filter(|&next| next == '$' || next == self.escape);
            match escaped.filter(|_| character == self.escape) {
                Some(escaped) => {
                    lexer.next += 1;
                    file.push(escaped);
                }
                None => file.push(character),
            }
        }
        Ok(file)
    }
}

struct Lexer<'a> {
    variables: &'a Variables<'a>,
    text: &'a Text,
    characters: Vec<(usize, char)>,
    next: usize,
    depth: usize,
}

impl<'a> Lexer<'a> {
    fn new(variables: &'a Variables<'a>, text: &'a Text) -> Self {
        let characters = text.as_str().char_indices().collect();
        Self { variables, text, characters, next: 0, depth: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.next).map(|&(_, character)| character)
    }

    fn take(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.next += 1;
        Some(character)
    }

    /// Takes the next character if it is this.
    fn takes(&mut self, character: char) -> bool {
        let is_next = self.peek() == Some(character);
        self.next += usize::from(is_next);
        is_next
    }

    fn fault(&self, from: usize, message: impl Into<String>) -> Fault {
        let offset = self.characters.get(from).map_or(self.text.as_str().len(), |&(at, _)| at);
        Fault::new(self.text.at(offset), message)
    }

    fn words(&mut self, split: bool) -> Result<Vec<String>, Fault> {
        let (mut words, mut word) = (Vec::new(), None::<String>);
        while let Some(character) = self.peek() {
            if split && character.is_whitespace() {
                self.next += 1;
                words.extend(word.take());
            } else if split && character == '$' {
                split_into(&self.variable()?, &mut words, &mut word);
            } else {
                let piece = self.piece()?;
                word.get_or_insert_default().push_str(&piece);
            }
        }
        words.extend(word);
        Ok(words)
    }

    /// A quoted part, a variable, or a character.
    fn piece(&mut self) -> Result<String, Fault> {
        let start = self.next;
        match self.peek() {
            Some('\'') => self.single(start),
            Some('"') => self.double(start),
            Some('$') => self.variable(),
            Some(character) if character == self.variables.escape => {
                self.next += 1;
                Ok(self.take().map(String::from).unwrap_or_default())
            }
            other => {
                self.next += 1;
                Ok(other.map(String::from).unwrap_or_default())
            }
        }
    }

    fn single(&mut self, start: usize) -> Result<String, Fault> {
        self.next += 1;
        let mut quoted = String::new();
        loop {
            match self.take() {
                Some('\'') => return Ok(quoted),
                Some(character) => quoted.push(character),
                None => return Err(self.fault(start, "this quote is not closed")),
            }
        }
    }

    fn double(&mut self, start: usize) -> Result<String, Fault> {
        self.next += 1;
        let mut quoted = String::new();
        loop {
            match self.peek() {
                None => return Err(self.fault(start, "this quote is not closed")),
                Some('"') => {
                    self.next += 1;
                    return Ok(quoted);
                }
                Some('$') => quoted.push_str(&self.variable()?),
                Some(character) if character == self.variables.escape => {
                    self.next += 1;
                    match self.take() {
                        Some(escaped @ ('"' | '$')) => quoted.push(escaped),
                        Some(escaped) if escaped == character => quoted.push(escaped),
                        // It means nothing here, and stays.
                        other => {
                            quoted.push(character);
                            quoted.extend(other);
                        }
                    }
                }
                Some(character) => {
                    self.next += 1;
                    quoted.push(character);
                }
            }
        }
    }

    fn variable(&mut self) -> Result<String, Fault> {
        let start = self.next;
        self.next += 1;
        if !self.takes('{') {
            let name = self.name();
            let value = if name.is_empty() { Some("$".to_owned()) } else { self.value(&name) };
            return Ok(value.unwrap_or_default());
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fault(start, "variables stand in variables too deeply"));
        }
        let name = self.name();
        if name.is_empty() {
            return Err(self.fault(start, "this variable has no name"));
        }
        let value = self.modified(start, &name)?;
        self.depth -= 1;
        Ok(value)
    }

    fn value(&self, name: &str) -> Option<String> {
        (self.variables.value)(name)
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(character) = self.peek() {
            let letter = character.is_ascii_alphabetic() || character == '_';
            if !letter && (name.is_empty() || !character.is_ascii_digit()) {
                break;
            }
            name.push(character);
            self.next += 1;
        }
        name
    }

    /// What follows a name in braces.
    fn modified(&mut self, start: usize, name: &str) -> Result<String, Fault> {
        let value = self.value(name);
        // A colon has the empty value be like none.
        let colon = self.takes(':');
        let set = value.clone().filter(|value| !colon || !value.is_empty());
        match self.take() {
            Some('}') if !colon => Ok(value.unwrap_or_default()),
            Some('-') => {
                let word = self.until(start, "}")?;
                Ok(set.unwrap_or(word))
            }
            Some('+') => {
                let word = self.until(start, "}")?;
                Ok(set.map(|_| word).unwrap_or_default())
            }
            Some('?') => {
                let word = self.until(start, "}")?;
                let why = if word.is_empty() { "it has no value" } else { &word };
                set.ok_or_else(|| self.fault(start, format!("`{name}` is needed: {why}")))
            }
            Some(sign @ ('#' | '%')) if !colon => {
                let longest = self.takes(sign);
                let pattern = self.until(start, "}")?;
                let value = value.unwrap_or_default();
                let cut =
                    if sign == '#' { pattern::without_prefix } else { pattern::without_suffix };
                Ok(cut(&value, &pattern, longest).to_owned())
            }
            Some('/') if !colon => {
                let all = self.takes('/');
                let pattern = self.until(start, "/}")?;
                let is_last = self.characters[self.next - 1].1 == '}';
                let replacement = if is_last { String::new() } else { self.until(start, "}")? };
                Ok(pattern::replaced(&value.unwrap_or_default(), &pattern, &replacement, all))
            }
            Some(other) => {
                let message = format!("`{other}` after a variable's name is not understood");
                Err(self.fault(start, message).hinted(MODIFIERS))
            }
            None => Err(self.unclosed(start)),
        }
    }

    /// All up to one of these characters, which is taken.
    fn until(&mut self, start: usize, ends: &str) -> Result<String, Fault> {
        let mut word = String::new();
        loop {
            match self.peek() {
                None => return Err(self.unclosed(start)),
                Some(character) if ends.contains(character) => {
                    self.next += 1;
                    return Ok(word);
                }
                Some(_) => word.push_str(&self.piece()?),
            }
        }
    }

    fn unclosed(&self, start: usize) -> Fault {
        self.fault(start, "this variable is not closed by }")
    }
}

/// Adds a value whose white space ends words.
fn split_into(value: &str, words: &mut Vec<String>, word: &mut Option<String>) {
    let mut parts = value.split_whitespace();
    if value.starts_with(char::is_whitespace) {
        words.extend(word.take());
    }
    if let Some(first) = parts.next() {
        word.get_or_insert_default().push_str(first);
    }
    for part in parts {
        words.extend(word.replace(part.to_owned()));
    }
    if value.ends_with(char::is_whitespace) {
        words.extend(word.take());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse::Position;

    fn text(text: &str) -> Text {
        Text::new(text, Position { line: 1, column: 1 })
    }

    fn value(name: &str) -> Option<String> {
        let value = match name {
            "A" => "one",
            "E" => "",
            "W" => "two words",
            "P" => "/usr/local/lib.tar.gz",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn expanded(word: &str) -> String {
        let variables = Variables { escape: '\\', value: &value };
        let told = |fault: Fault| format!("{}: {}", fault.at.column, fault.message);
        variables.expand(&text(word)).unwrap_or_else(told)
    }

    #[test]
    fn variables_are_replaced_as_the_shell_does() {
        for (word, expected) in [
            ("$A", "one"),
            ("${A}x$", "onex$"),
            ("$A-$N-", "one--"),
            (r"\$A", "$A"),
            (r#"'$A' "$A" "\$A \x""#, r"$A one $A \x"),
            ("${E:-w}${E-w}|${N:-w}${N-w}", "w|ww"),
            ("${A:+w}${E:+w}${E+w}${N+w}", "ww"),
            ("${N:-${A}-$W}", "one-two words"),
            ("${N:-\"a}b\"}", "a}b"),
            ("${P#*/}|${P##*/}", "usr/local/lib.tar.gz|lib.tar.gz"),
            ("${P%.*}|${P%%.*}", "/usr/local/lib.tar|/usr/local/lib"),
            ("${P/l?/X}|${P//\\//:}", "/usr/Xcal/lib.tar.gz|:usr:local:lib.tar.gz"),
            ("${P/nothing/x}${A/n}", "/usr/local/lib.tar.gzoe"),
            ("${A:?needed}", "one"),
        ] {
            assert_eq!(expanded(word), expected, "{word}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (word, expected) in [
            ("ab${A", "3: this variable is not closed by }"),
            ("${}", "1: this variable has no name"),
            ("a'b", "2: this quote is not closed"),
            ("a \"b", "3: this quote is not closed"),
            ("${A^}", "1: `^` after a variable's name is not understood"),
            ("${A:#x}", "1: `#` after a variable's name is not understood"),
            ("${N:?give it}", "1: `N` is needed: give it"),
            ("${E?}${N?}", "6: `N` is needed: it has no value"),
        ] {
            assert_eq!(expanded(word), expected, "{word}");
        }
    }

    #[test]
    fn values_may_be_several_words() {
        let variables = Variables { escape: '\\', value: &value };
        let words = |line: &str| variables.expand_words(&text(line)).unwrap();
        let expected = ["a", "two", "wordsone", "two words", "", "b c"];
        assert_eq!(words("a $W$A \"$W\" '' b\\ c"), expected);
        assert_eq!(words("$E $N"), Vec::<String>::new());
    }

    #[test]
    fn quotes_in_files_stay() {
        let variables = Variables { escape: '\\', value: &value };
        let file = variables.expand_file(&text("it's \"$A\" \\$A \\n \\\\ ${N:-x}\n")).unwrap();
        assert_eq!(file, "it's \"one\" $A \\n \\ x\n");
    }

    proptest! {
        #[test]
        fn any_word_is_read_or_refused(word in r#"[aAN${}:+?#%/*'" \\-]{0,24}"#) {
            let variables = Variables { escape: '\\', value: &value };
            let _ = variables.expand(&text(&word));
            let _ = variables.expand_words(&text(&word));
            let _ = variables.expand_file(&text(&word));
        }

        #[test]
        fn a_quoted_word_is_itself(word in "[a-z $\"{}\\\\]{0,16}") {
            prop_assert_eq!(expanded(&format!("'{word}'")), word);
        }
    }
}
