//! Text that knows where it stands in its file.

use std::{fmt, ops::Range};

/// A place in a Dockerfile, counted from 1; columns are characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

/// A part of a logical line, which may come from several lines of the file. Two are equal when they
/// read the same, wherever they stand.
#[derive(Clone, Debug)]
pub struct Text {
    text: String,
    /// Where pieces begin: their offset in `text`, and the place that they come from. Never empty.
    pieces: Vec<(usize, Position)>,
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Text {}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Text {
    /// Text that begins at a place and has no line end in it.
    #[must_use]
    pub fn new(text: impl Into<String>, at: Position) -> Self {
        Self { text: text.into(), pieces: vec![(0, at)] }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> Position {
        self.at(0)
    }

    /// Where the character at this offset stands, in bytes.
    #[must_use]
    pub fn at(&self, offset: usize) -> Position {
        let piece = self.pieces.iter().rev().find(|(start, _)| *start <= offset);
        let (start, at) = piece.unwrap_or(&self.pieces[0]);
        let before = self.text.get(*start..offset).unwrap_or_default();
        Position { line: at.line, column: at.column + before.chars().count() }
    }

    /// A part of it, in bytes.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut pieces = vec![(0, self.at(range.start))];
        let inside = self.pieces.iter().filter(|(start, _)| range.contains(start));
        pieces.extend(
            inside
                .filter(|(start, _)| *start > range.start)
                .map(|(start, at)| (start - range.start, *at)),
        );
        Self { text: self.text[range].to_owned(), pieces }
    }

    /// All from an offset on.
    #[must_use]
    pub fn from(&self, offset: usize) -> Self {
        self.slice(offset..self.text.len())
    }

    /// Without white space at its ends.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start..start.max(self.text.trim_end().len()))
    }

    /// Appends what stands elsewhere.
    pub(super) fn push(&mut self, text: &str, at: Position) {
        if self.text.is_empty() {
            self.pieces[0] = (0, at);
        } else {
            self.pieces.push((self.text.len(), at));
        }
        self.text.push_str(text);
    }

    /// Splits off the first word: what comes before white space, and what follows that.
    #[must_use]
    pub fn first_word(&self) -> (Self, Self) {
        let end = self.text.find(char::is_whitespace).unwrap_or(self.text.len());
        (self.slice(0..end), self.from(end).trimmed())
    }

    /// The words between white space.
    #[must_use]
    pub fn words(&self) -> Vec<Self> {
        let mut words = Vec::new();
        let mut rest = self.trimmed();
        while !rest.text.is_empty() {
            let (word, after) = rest.first_word();
            words.push(word);
            rest = after;
        }
        words
    }

    /// The words between white space that is neither quoted nor escaped. Quotes and escapes stay.
    #[must_use]
    pub fn shell_words(&self, escape: char) -> Vec<Self> {
        let (mut words, mut start, mut quote) = (Vec::new(), None, None);
        let mut characters = self.text.char_indices();
        while let Some((offset, character)) = characters.next() {
            if quote.is_none() && character.is_whitespace() {
                words.extend(start.take().map(|start| self.slice(start..offset)));
                continue;
            }
            start.get_or_insert(offset);
            match quote {
                None if matches!(character, '"' | '\'') => quote = Some(character),
                Some(open) if character == open => quote = None,
                Some('\'') => {}
                _ if character == escape => drop(characters.next()),
                _ => {}
            }
        }
        words.extend(start.map(|start| self.from(start)));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: usize, column: usize) -> Position {
        Position { line, column }
    }

    #[test]
    fn parts_know_where_they_stand() {
        let mut text = Text::new("RUN é ", at(3, 1));
        text.push("  then more", at(5, 1));
        let (word, rest) = text.first_word();
        assert_eq!((word.as_str(), word.start()), ("RUN", at(3, 1)));
        assert_eq!((rest.as_str(), rest.start()), ("é   then more", at(3, 5)));
        let words = rest.words();
        assert_eq!(words[1].as_str(), "then");
        assert_eq!((words[1].start(), words[2].start()), (at(5, 3), at(5, 8)));
        assert_eq!(text.at(text.as_str().len()), at(5, 12));
    }

    #[test]
    fn quotes_and_escapes_keep_words_together() {
        let text = Text::new(r#"a "b c"d 'e \' f\ g"#, at(1, 1));
        let words: Vec<_> = text.shell_words('\\').iter().map(Text::to_string).collect();
        assert_eq!(words, ["a", r#""b c"d"#, r"'e \'", r"f\ g"]);
    }
}
