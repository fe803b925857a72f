//! What a registry wants to know of who asks: the header `WWW-Authenticate` (RFC 9110, 11.6.1).

/// One way to say who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    pub(crate) scheme: String,
    /// The names in lower case.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads a header's value. What follows something that is no challenge is left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = Rest(header);
    loop {
        rest.skip(|letter| letter == ',' || letter.is_ascii_whitespace());
        let Some(word) = rest.token() else { return challenges };
        rest.skip(|letter| letter.is_ascii_whitespace());
        if rest.take('=') && !rest.0.starts_with('=') {
            rest.skip(|letter| letter.is_ascii_whitespace());
            let (Some(value), Some(last)) = (rest.value(), challenges.last_mut()) else {
                return challenges;
            };
            last.parameters.push((word.to_ascii_lowercase(), value));
        } else {
            // `token68` credentials, as of Negotiate, end with the `=`s that were met.
            rest.skip(|letter| letter == '=');
            let scheme = word.to_ascii_lowercase();
            challenges.push(Challenge { scheme, parameters: Vec::new() });
        }
    }
}

/// What is left to read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(unwanted);
    }

    fn take(&mut self, letter: char) -> bool {
        let rest = self.0.strip_prefix(letter);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token =
            |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(letter);
        let end = self.0.find(|letter| !is_token(letter)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn value(&mut self) -> Option<String> {
        if !self.take('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut letters = self.0.char_indices();
        while let Some((position, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.0 = &self.0[position + 1..];
                    return Some(value);
                }
                '\\' => value.push(letters.next()?.1),
                letter => value.push(letter),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schemes(header: &str) -> Vec<String> {
        parse(header).into_iter().map(|challenge| challenge.scheme).collect()
    }

    #[test]
    fn a_token_server_is_read_with_its_parameters() {
        let header = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let challenges = parse(header);
        let [bearer] = challenges.as_slice() else { panic!("{challenges:?}") };
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.parameter("realm"), Some("https://auth.example/token"));
        assert_eq!(bearer.parameter("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(bearer.parameter("error"), None);
    }

    #[test]
    fn several_challenges_are_told_apart() {
        assert_eq!(schemes(r#"Basic realm="a, b", Bearer realm=c , x = "d""#), ["basic", "bearer"]);
        assert_eq!(schemes("Negotiate abcd==, Basic realm=x"), ["negotiate", "abcd", "basic"]);
        assert_eq!(parse(r#"Basic realm="a \" b""#)[0].parameter("realm"), Some(r#"a " b"#));
    }

    #[test]
    fn what_is_no_challenge_is_none() {
        for header in ["", ",", "=", r#"realm="x""#, "\u{e4}"] {
            assert_eq!(parse(header), [], "{header}");
        }
        assert_eq!(parse(r#"Bearer realm="endless"#).len(), 1);
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_as_it_was(value in r"[ -~]{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let challenges = parse(&format!("Bearer realm=\"{quoted}\", service=x"));
            prop_assert_eq!(challenges[0].parameter("realm"), Some(value.as_str()));
            prop_assert_eq!(challenges[0].parameter("service"), Some("x"));
        }

        #[test]
        fn no_header_makes_it_fail(header in any::<String>()) {
            parse(&header);
        }
    }
}
