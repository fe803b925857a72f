//! From text to nodes.

use serde_json::Value;

use super::{Command, Node, Operand, Pipeline, TemplateError};

/// How deep actions and parentheses may nest; each level is a stack frame here.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    match parser.block()? {
        (nodes, None) => Ok(nodes),
        (_, Some(end)) => {
            Err(parser.error_at(end.at, format!("`{}` without a beginning", end.word)))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes, at a character's boundary.
    at: usize,
    depth: usize,
}

/// The `end` or `else` that closed a block. After an `else`, `at` is past the word.
struct Closer {
    word: &'static str,
    at: usize,
}

impl Parser<'_> {
    /// Nodes up to the end of the text or to an `end` or `else`.
    fn block(&mut self) -> Result<(Vec<Node>, Option<Closer>), TemplateError> {
        let mut nodes = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(open) = rest.find("{{") else {
                push_text(&mut nodes, rest);
                self.at = self.text.len();
                return Ok((nodes, None));
            };
            let trimmed = rest[open + 2..].starts_with("- ");
            let before = &rest[..open];
            push_text(&mut nodes, if trimmed { before.trim_end() } else { before });
            let start = self.at + open;
            self.at = start + if trimmed { 3 } else { 2 };
            self.spaces();
            if self.eat("/*") {
                let Some(length) = self.text[self.at..].find("*/") else {
                    return Err(self.error_at(start, "comment without its end"));
                };
                self.at += length + 2;
                self.close(start)?;
                continue;
            }
            let at = self.at;
            match self.keyword() {
                Some(word @ ("end" | "else")) => {
                    if word == "end" {
                        self.close(start)?;
                    }
                    return Ok((nodes, Some(Closer { word, at })));
                }
                Some(word) => nodes.push(self.control(word, start)?),
                None => {
                    let pipeline = self.pipeline()?;
                    self.close(start)?;
                    nodes.push(Node::Output(pipeline));
                }
            }
        }
    }

    /// An `if`, `range` or `with`, after the word.
    fn control(&mut self, word: &'static str, start: usize) -> Result<Node, TemplateError> {
        self.deeper(start)?;
        let pipeline = self.pipeline()?;
        self.close(start)?;
        let (body, closer) = self.block()?;
        let unclosed = |parser: &Self| parser.error_at(start, format!("`{word}` without `end`"));
        let otherwise = match closer {
            None => return Err(unclosed(self)),
            Some(Closer { word: "end", .. }) => Vec::new(),
            Some(_) => {
                self.spaces();
                if let Some(word @ ("if" | "with")) = self.keyword() {
                    vec![self.control(word, start)?]
                } else {
                    self.close(start)?;
                    match self.block()? {
                        (nodes, Some(Closer { word: "end", .. })) => nodes,
                        (_, Some(second)) => {
                            return Err(self.error_at(second.at, "a second `else`"));
                        }
                        (_, None) => return Err(unclosed(self)),
                    }
                }
            }
        };
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If { condition: pipeline, then: body, otherwise },
            "range" => Node::Range { over: pipeline, body, otherwise },
            _ => Node::With { value: pipeline, body, otherwise },
        })
    }

    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let mut commands = Vec::new();
        loop {
            self.spaces();
            let mut command = Command { column: self.column(self.at), operands: Vec::new() };
            while let Some(operand) = self.operand()? {
                command.operands.push(operand);
                self.spaces();
            }
            if command.operands.is_empty() {
                return Err(self.error_at(self.at, "expected a field, a function or a value"));
            }
            commands.push(command);
            if !self.eat("|") {
                return Ok(Pipeline(commands));
            }
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, TemplateError> {
        let start = self.at;
        let Some(first) = self.text[start..].chars().next() else { return Ok(None) };
        match first {
            '.' => Ok(Some(Operand::Field(self.fields()?))),
            '$' => {
                self.at += 1;
                if self.text[self.at..].starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                    return Err(self.error_at(start, "variables are not supported"));
                }
                let fields =
                    if self.text[self.at..].starts_with('.') { self.fields()? } else { Vec::new() };
                Ok(Some(Operand::Root(fields)))
            }
            '"' | '`' => Ok(Some(Operand::Literal(self.string(first)?))),
            '(' => {
                self.deeper(start)?;
                self.at += 1;
                let pipeline = self.pipeline()?;
                if !self.eat(")") {
                    return Err(self.error_at(start, "`(` without `)`"));
                }
                self.depth -= 1;
                let fields =
                    if self.text[self.at..].starts_with('.') { self.fields()? } else { Vec::new() };
                Ok(Some(Operand::Group(pipeline, fields)))
            }
            '0'..='9' | '-' if !self.text[start..].starts_with("-}}") => self.number().map(Some),
            _ if first.is_alphabetic() => Ok(Some(match self.word() {
                "true" => Operand::Literal(Value::Bool(true)),
                "false" => Operand::Literal(Value::Bool(false)),
                "nil" => Operand::Literal(Value::Null),
                function => Operand::Function(function.to_owned()),
            })),
            _ => Ok(None),
        }
    }

    /// `.A.B`, or `.` alone as no names.
    fn fields(&mut self) -> Result<Vec<String>, TemplateError> {
        let mut names = Vec::new();
        while self.eat(".") {
            let start = self.at;
            let name = self.word();
            if name.is_empty() {
                let lone = names.is_empty() && !self.text[start..].starts_with('.');
                return if lone { Ok(names) } else { Err(self.error_at(start, "expected a name")) };
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }

    fn string(&mut self, quote: char) -> Result<Value, TemplateError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((offset, c)) = chars.next() {
            if c == quote {
                self.at += offset + 1;
                return Ok(Value::String(text));
            }
            text.push(match c {
                '\\' if quote == '"' => match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, c @ ('"' | '\\'))) => c,
                    _ => return Err(self.error_at(start, "unknown escape in a string")),
                },
                c => c,
            });
        }
        Err(self.error_at(start, "string without its end"))
    }

    fn number(&mut self) -> Result<Operand, TemplateError> {
        let start = self.at;
        let rest = &self.text[start..];
        let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |n| n + 1);
        self.at += digits;
        let number = rest[..digits].parse::<i64>();
        number
            .map(|n| Operand::Literal(n.into()))
            .map_err(|_| self.error_at(start, "not a whole number"))
    }

    fn keyword(&mut self) -> Option<&'static str> {
        let start = self.at;
        let word = self.word();
        let known = ["if", "else", "end", "range", "with"].into_iter().find(|&known| known == word);
        if known.is_none() {
            self.at = start;
        }
        known
    }

    fn word(&mut self) -> &str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The end of an action that began at `start`, with the text that `-}}` trims.
    fn close(&mut self, start: usize) -> Result<(), TemplateError> {
        self.spaces();
        if self.eat("-}}") {
            self.spaces();
            return Ok(());
        }
        if self.eat("}}") {
            return Ok(());
        }
        Err(match self.text[self.at..].chars().next() {
            None => self.error_at(start, "`{{` without `}}`"),
            Some(c) => self.error_at(self.at, format!("unexpected `{c}`")),
        })
    }

    fn deeper(&mut self, start: usize) -> Result<(), TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error_at(start, "nested too deeply"));
        }
        Ok(())
    }

    fn spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn column(&self, at: usize) -> usize {
        self.text[..at].chars().count() + 1
    }

    fn error_at(&self, at: usize, message: impl Into<String>) -> TemplateError {
        TemplateError { column: self.column(at), message: message.into() }
    }
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    if !text.is_empty() {
        nodes.push(Node::Text(text.to_owned()));
    }
}
